"""Defects of the limits, and of the clock that they count by."""

from mutant import Mutant, one

DEFECTS: dict[str, Mutant] = {
    "stamp-without-zeros": one("include_clock", "'%s.%06d'", "'%s.%d'"),
    "moving-one-more": one("include_limits", "'LINDEX', limit.key, most - 1)", "'LINDEX', limit.key, most)"),
    "moving-one-less": one("include_limits", "'LINDEX', limit.key, most - 1)", "'LINDEX', limit.key, most - 2)"),
    "moving-too-early": one("include_limits", "if free < 0 then", "if free < 0.002 then"),
    "moving-no-trim": one("include_limits", "      redis.call('LTRIM', limit.key, 0, limit.amount - 1)\n"),
    "moving-trim-too-short": one(
        "include_limits", "'LTRIM', limit.key, 0, limit.amount - 1", "'LTRIM', limit.key, 0, 0"
    ),
    "moving-trim-too-late": one("include_limits", "stamp) > limit.amount then", "stamp) > limit.amount + 1 then"),
    "moving-no-life": one("include_limits", "    redis.call('EXPIRE', limit.key, limit.seconds)\n"),
    "moving-life-too-short": one("include_limits", "'EXPIRE', limit.key, limit.seconds)", "'EXPIRE', limit.key, 1)"),
    "spends-all-but-the-first": one(
        "include_limits",
        "for _, limit in ipairs(list) do\n    if limit.scope",
        "for i, limit in ipairs(list) do\n    if i > 1 and limit.scope",
    ),
    "spends-only-the-first": one(
        "include_limits",
        "for _, limit in ipairs(list) do\n    if limit.scope",
        "for i, limit in ipairs(list) do\n    if i == 1 and limit.scope",
    ),
    "any-wait-not-the-longest": one("include_rule_hits", "and one.wait > first.wait", ""),
    "tests-only-the-first": one(
        "include_guard",
        "for _, limit in ipairs(sending.windows) do\n",
        "for i, limit in ipairs(sending.windows) do\n    if i > 1 then break end\n",
    ),
    "sliding-forgets-the-past": one(
        "include_limits", "math.floor(faded * faded_ttl / interval) + limit.count", "limit.count"
    ),
    "sliding-one-more": one("include_limits", "if limit.used + 1 <= most", "if limit.used <= most"),
    "sliding-never-shifts": one("include_limits", "ttl > 0 and ttl < interval\n", "false\n"),
    "sliding-drops-the-past": one("include_limits", "    redis.call('RENAME', limit.key, limit.previous)\n"),
    "sliding-no-life": one("include_limits", "1, 'PX', limit.seconds * 2000)", "1)"),
    "sliding-new-life-at-a-shift": one("include_limits", "limit.ttl + limit.seconds * 1000)", "limit.seconds * 2000)"),
    "sliding-wait-too-short": one(
        "include_limits",
        "faded_ttl - (most - limit.count) * interval / faded",
        "faded_ttl - most * interval / faded",
    ),
}
