"""Defects of the limits, and of the states that they count in."""

from mutant import Mutant, one

DEFECTS: dict[str, Mutant] = {
    "moving-one-more": one("include_limits", "TIME * (most - 1) + 1\n", "TIME * most + 1\n"),
    "moving-one-less": one("include_limits", "TIME * (most - 1) + 1\n", "TIME * math.max(0, most - 2) + 1\n"),
    "moving-too-early": one("include_limits", "free < 0 and 0", "free < 2 and 0"),
    "moving-keeps-too-few": one("include_limits", "math.min(#times / TIME, most - 1)", "math.min(#times / TIME, 1)"),
    "moving-forgets-too-early": one("include_limits", "< now - longest do", "< now - longest / 2 do"),
    "moving-windows-of-the-shortest": one(
        "include_limits", "math.max(longest, 1000 * limit.seconds) end", "1000 * limit.seconds end"
    ),
    "any-wait-not-the-longest": one("include_rule_hits", "and one.wait > first.wait", ""),
    "tests-only-the-first": one(
        "include_guard",
        "for _, limit in ipairs(ruleset.windows) do\n",
        "for i, limit in ipairs(ruleset.windows) do\n    if i > 1 then break end\n",
    ),
    "spends-all-but-the-first": one(
        "include_limits",
        "function limits.spend(scope)\n  for _, limit in ipairs(ruleset.windows) do\n    if limit.scope",
        "function limits.spend(scope)\n  local first = true\n  for _, limit in ipairs(ruleset.windows) do\n"
        "    local skipped = first and limit.scope == scope\n    first = first and not skipped\n"
        "    if not skipped and limit.scope",
    ),
    "sliding-forgets-the-past": one("include_limits", "math.floor(faded * faded_ttl / interval) + count", "count"),
    "sliding-one-more": one("include_limits", "if limit.used + 1 <= most", "if limit.used <= most"),
    "sliding-never-shifts": one("include_limits", "if ttl > 0 and ttl < interval then", "if false then"),
    "sliding-drops-the-past": one(
        "include_limits", "        values[w + 2], values[w + 3] = values[w], values[w + 1]\n"
    ),
    "sliding-new-life-at-a-shift": one("include_limits", "1, now + ttl + interval", "1, now + 2 * interval"),
    "sliding-wait-too-short": one(
        "include_limits", "faded_ttl - (most - count) * interval / faded", "faded_ttl - most * interval / faded"
    ),
    "rows-that-live-for-ever": one("include_rows", ", 'PX', life)", ")"),
    "rows-of-other-settings-are-dropped": one("include_rows", "for i = 0, from.sizes[name] - 1 do", "for i = 1, 0 do"),
    "what-settings-no-longer-name-is-dropped": one("include_rows", "if not wanted.at[name] then", "if false then"),
    "what-fades-does-not-end": one("include_rows", "if now < values[rows.ENDS] then", "if true then"),
    "money-ends-with-what-fades": one("include_rows", "if not STAYS[kind] then", "if true then"),
    "a-number-that-lives-for-ever": one("include_number", ", 'PX', math.max(life(self), least or 0))", ")"),
    "an-approval-forgotten-after-a-week": one(
        "include_number",
        "  if values[APPROVED] > 0 then longest = math.max(longest, values[APPROVED] + ruleset.known - now) end\n",
    ),
    "a-lock-forgotten-after-a-week": one(
        "include_number", "  return math.max(longest, entry[E_LOCKED] - now)\n", "  return ruleset.ttls.number\n"
    ),
    "wrong-codes-of-other-applications-are-lost": one(
        "include_number", "      others[#others + 1] = string.sub(text, begins, place - 1)\n"
    ),
    "entries-without-end": one(
        "include_number",
        "elseif lately(entry[E_DEVICE]) or now - entry[E_WRITTEN] < ruleset.lifetimes.guesses then",
        "else",
    ),
}
