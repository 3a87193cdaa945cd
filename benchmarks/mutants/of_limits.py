"""Defects of the limits, and of the states that they count in."""

from mutant import Mutant, one

TESTS = (
    "store/test_windows.py",
    "store/test_limits_oracle.py",
    "store/test_clock_set_back.py",
    "store/test_guard_*.py",
)
"""Where most of them are noticed."""
DEFECTS: dict[str, Mutant] = {
    "moving-one-more": one("include_limits", "TIME * (max_count - 1) + 1\n", "TIME * max_count + 1\n"),
    "moving-one-less": one("include_limits", "TIME * (max_count - 1) + 1\n", "TIME * math.max(0, max_count - 2) + 1\n"),
    "moving-too-early": one("include_limits", "if free < 0 or", "if free < 2 or"),
    "moving-keeps-too-few": one(
        "include_limits", "math.min(#times / TIME, windows.max_count - 1)", "math.min(#times / TIME, 1)"
    ),
    "moving-forgets-too-early": one("include_limits", "< now - windows.longest do", "< now - windows.longest / 2 do"),
    "moving-windows-of-the-shortest": one(
        "ruleset_register",
        "math.max(windows.longest, window.milliseconds)",
        "windows.longest > 0 and windows.longest or window.milliseconds",
    ),
    "any-wait-not-the-longest": one("include_rule_hits", "and hit.wait > first.wait", ""),
    "tests-only-the-first": one(
        "include_guard",
        "    local max_count = unknown_device",
        "    if i > 1 then break end\n    local max_count = unknown_device",
    ),
    "spends-all-but-the-first": one("include_guard", "row[window.place] + 1", "row[window.place] + (i > 1 and 1 or 0)"),
    "no-sum-is-requested": one(
        "include_limits", "row.unsummed, row[f + 2], row[f + 3] = true", "row.unsummed, row[f + 2], row[f + 3] = nil"
    ),
    "a-sum-is-requested-once": one(
        "include_limits", "  if now - due >= AGAIN then row.unsummed, row[f + 2] = true, now end\n"
    ),
    "a-lost-request-is-late": one("include_limits", "(requested <= due and now - due >= LATE)", "false"),
    "a-late-sum-lowers-nothing": one(
        "include_limits", "  if is_late then wait = limits.sliding_wait(window, row, window.unsummed) end\n"
    ),
    "each-start-requests-a-sum": one("include_limits", "own + 1 > window.part", "true"),
    "full-in-no-bucket": one("include_limits", "return math.max(wait, full)", "return wait"),
    "the-quota-tells-a-bucket": one(
        "include_limits", "  if now - row[f + 2] < LATE then window.used = math.max(own, row[f + 1]) end\n"
    ),
    "full-where-a-sum-is-due-alone": one("windows_write", "full_for > 0 or row[f + 3] > 0", "row[f + 3] > 0"),
    "a-sum-stays-due": one("windows_write", "now, 0, math.max(life", "now, row[f + 3], math.max(life"),
    "sliding-forgets-the-past": one("include_limits", "math.floor(faded * faded_ttl / interval) + count", "count"),
    "sliding-one-more": one("include_limits", "if used + 1 <= max_count", "if used <= max_count"),
    "sliding-never-shifts": one("include_limits", "elseif ttl < interval then", "elseif false then"),
    "sliding-drops-the-past": one(
        "include_limits",
        "0, now + ttl + interval, row[w], row[w + 1]",
        "0, now + ttl + interval, row[w + 2], row[w + 3]",
    ),
    "sliding-new-life-at-a-shift": one("include_limits", "0, now + ttl + interval", "0, now + 2 * interval"),
    "sliding-wait-too-short": one(
        "include_limits",
        "faded_ttl - (max_count - count) * interval / faded",
        "faded_ttl - max_count * interval / faded",
    ),
    "rows-as-they-were-before-others-wrote": one("include_rows", " or row.text ~= text"),
    "rows-as-other-settings-had-them": one("include_rows", " or row.layout ~= requested"),
    "rows-as-a-refused-message-left-them": one(
        "include_rows", "written[key], row.changed = nil, false", "row.changed = false"
    ),
    "rows-that-live-for-ever": one("include_rows", ", 'PX', life)", ")"),
    "rows-of-other-settings-are-dropped": one("include_rows", "for i = 0, from.sizes[name] - 1 do", "for i = 1, 0 do"),
    "what-settings-no-longer-name-is-dropped": one("include_rows", "if not requested.at[name] then", "if false then"),
    "what-fades-does-not-end": one("include_rows", "(now >= ends or row", "(row"),
    "money-ends-with-what-fades": one("include_rows", "if not STAYS[kind] then", "if true then"),
    "a-number-that-lives-for-ever": one("include_number", ", 'PX', life)", ")"),
    "an-approval-forgotten-after-a-week": one(
        "include_number",
        "  if self[APPROVED] > 0 then life = math.max(life, self[APPROVED] + ruleset.known - now) end\n",
    ),
    "a-lock-forgotten-after-a-week": one(
        "include_number", "math.max(life, ruleset.lifetimes.guesses, entry[E_LOCKED] - now)", "life"
    ),
    "wrong-codes-of-other-applications-are-lost": one(
        "include_number", "      others[#others + 1] = string.sub(text, begins, place - 1)\n"
    ),
    "entries-without-end": one("include_number", "elseif counts or recently(entry[E_DEVICE]) then", "else"),
    "a-sliding-window-of-a-clock-that-was-ahead": one("include_limits", " or ttl > 2 * interval + clock.WRONG", ""),
    "a-moving-window-of-a-clock-that-was-ahead": one(
        "include_limits", " or free > window.milliseconds + clock.WRONG", ""
    ),
    "a-streak-of-a-clock-that-was-ahead": one("include_number", " or last > now + clock.WRONG", ""),
    "a-row-of-a-clock-that-was-ahead": one("include_rows", " or row[rows.TIME] > now + clock.WRONG)", ")"),
    "a-clock-that-was-a-little-ahead": one("include_rows", "now + clock.WRONG)", "now)"),
}
