"""Defects of the conversion of what the release before kept."""

from mutant import Mutant, one

TESTS = ("store/test_upgrade.py", "store/test_places.py")
"""Where most of them are noticed."""
DEFECTS: dict[str, Mutant] = {
    "place-of-another-ledger-stays": one("former_places", "own ~= identity or "),
    "place-stays-behind": one("former_places", "reached < sequence or "),
    "place-goes-back": one("former_places", "reached < sequence or", "reached ~= sequence or"),
    "place-stays-open": one("former_places", " or (closed and not own_closed)"),
    "place-of-no-ledger": one("former_places", "if identity and (", "if ("),
    "fence-stays-where-it-was": one("former_places", " < begun(KEYS[2]) then", " > 1e15 then"),
    "fence-goes-back": one("former_places", " < begun(KEYS[2]) then", " > -1 then"),
    "readiness-of-one-bucket": one("starts_readiness", "for i = 1, #KEYS, 2 do", "for i = 1, 1 do"),
    "readiness-without-a-mirror": one("starts_readiness", "not closed and "),
    "converts-again-when-done": one(
        "former_convert", "if redis.call('HEXISTS', KEYS[1], CONVERTED) == 1 then return 1 end"
    ),
    "never-done": one("former_convert", "redis.call('HSET', KEYS[1], CONVERTED, 'rows')\n"),
    "done-after-one-page": one("former_convert", "if ARGV[1] ~= '1' then return 0 end\n"),
    "a-number-ends-with-its-last-old-key": one(
        "former_convert",
        "  local latest = math.max(redis.call('PEXPIRETIME', key), ends)\n  number.learn",
        "  local latest = ends\n  number.learn",
    ),
    "a-number-lives-anew": one(
        "former_convert", "  number.write(state)\n  redis.call('PEXPIREAT', key, latest)\n", "  number.write(state)\n"
    ),
    "a-row-ends-with-its-last-old-key": one(
        "former_convert",
        "  local latest = math.max(redis.call('PEXPIRETIME', key), ends)\n  rows.write",
        "  local latest = ends\n  rows.write",
    ),
    "older-values-win": one(
        "former_convert",
        "row[place + i - 1] = math.max(row[place + i - 1], value)",
        "row[place + i - 1] = value",
    ),
    "older-breakers-count-as-of-now": one("former_convert", "    conversions.advance(told, 1)\n"),
    "newer-breakers-stand-still": one("former_convert", "    conversions.advance(row, place)\n"),
    "older-counters-count-as-of-now": one("former_convert", "    to_interval(told, 1, interval, kind)\n"),
    "older-intervals-beside-newer-ones": one("former_convert", "    to_interval(row, place, interval, kind)\n"),
    "the-interval-before-is-lost": one("former_convert", "passed == 1 and row[place + 1] or 0", "0"),
    "what-has-expired-counts": one("former_convert", "if row[i + 1] <= now then row[i] = 0 end"),
    "times-of-levels-are-lost": one("former_convert", "at = 'time', c = 'b'", "at = 'told', c = 'b'"),
    "breakers-are-lost": one("former_convert", "c = 'b', wrong", "wrong"),
    "what-fades-has-ended": one("former_convert", "    told.ends = { ends }\n", "    told.ends = { 0 }\n"),
    "devices-are-lost": one("former_convert", "if kind == 'c' then devices[rest] = at end"),
    "applications-of-devices-are-lost": one(
        "former_convert", "    if kind == 'a' then teach_number(tag, name, rest, { here = at }, ends) end\n"
    ),
    "locks-are-lost": one("former_convert", "locked = kept.ends, "),
    "rows-of-wrong-codes-are-lost": one("former_convert", "in_row = kept.row, "),
    "wrong-codes-of-nobody-knows-when": one("former_convert", "written = written }", "}"),
    "times-in-seconds": one("former_convert", "tonumber(seconds .. thousandths)", "tonumber(seconds)"),
    "the-interval-before-as-the-present": one("former_convert", "which == '/-1' and", "false and"),
    "what-was-asked-for-is-lost": one("former_convert", "redis.call('SRANDMEMBER', key, 1000)", "nil"),
    "newer-approvals-are-lost": one(
        "include_number", "list[place] = math.max(list[place], value or 0)", "list[place] = value or 0"
    ),
    "older-streaks-win": one("include_number", "if streak and streak[2] > list[place + 1] then", "if streak then"),
    "streaks-are-lost": one("include_number", "if streak and streak[2] > list[place + 1] then", "if false then"),
    "times-once-each": one("former_convert", "seen[at] = (seen[at] or 0) + 1", "seen[at] = 1"),
    "times-twice": one("former_convert", "{ name = at .. '/' .. seen[at],", "{ name = _ .. at .. '/' .. seen[at],"),
    "oldest-first": one("former_convert", "a.at > b.at or", "a.at < b.at or"),
    "an-older-time-of-a-device": one(
        "former_convert",
        "if not latest[item.name] or item.at > latest[item.name].at then",
        "if not latest[item.name] then",
    ),
    "learns-no-numbers": one("include_targets", "numbers = numbers .. short", "numbers = numbers"),
    "learns-no-countries": one("include_targets", "if not has(countries, member .. ',') then", "if false then"),
    "learns-instead": one(
        "include_targets", "if now > ends then countries, numbers = '', '' end", "countries, numbers = '', ''"
    ),
    "learns-what-is-over": one("include_targets", "  if now > ends then countries, numbers = '', '' end\n"),
}
