"""Defects of what the recorder counts and the workers judge: newcomers' traffic."""

from mutant import Mutant, one

DEFECTS: dict[str, Mutant] = {
    "a-start-without-its-flags-in-the-event": one("start", ",\n  guard = one.guard })", " })"),
    "an-approval-without-its-start": one("check", ", created = found.created })", ", created = 0 })"),
    "an-approval-of-nobody": one("check", "guard = found.guard", "guard = ''"),
    "a-start-without-its-carrier-range": one("include_approvals", "string.match(attempt, '%d*$') .. '.'", "'.'"),
    "a-step-that-is-kept-twice": one(
        "traffic_commit", "(redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1]", "false"
    ),
    "a-step-without-a-number": one("traffic_commit", "redis.call('HINCRBY', KEYS[1], 'version', 1)\n"),
    "what-was-learnt-is-lost": one("traffic_commit", "redis.call('HSET', KEYS[1], unpack(ARGV, 5))", "local _ = nil"),
    "what-was-judged-is-judged-again": one("traffic_commit", "field, -count", "field, 0"),
    "what-came-meanwhile-is-lost": one(
        "traffic_commit", "if redis.call('HINCRBY', KEYS[2], field, -count) == 0 then", "do"
    ),
    "a-suspicion-that-is-not-told": one(
        "traffic_commit", "meets.ask and ends or 0, meets.trickle\n", "0, meets.trickle\n"
    ),
    "a-suspicion-for-no-reason": one(
        "traffic_commit", "meets.ask and ends or 0, meets.trickle\n", "ends, meets.trickle\n"
    ),
    "a-range's-suspicion-that-is-not-told": one("traffic_commit", "row.tail = table.concat(ranges)", "row.tail = ''"),
    "a-row-that-does-not-count": one(
        "traffic_commit", "  row[rows.ENDS] = math.max(row[rows.ENDS], now + ruleset.ttls.country)\n"
    ),
    "what-is-usual-is-not-told": one("traffic_commit", ", meets.usual\n", ", 0\n"),
    "unblock-leaves-the-suspicion": one("guard_forget", " or name == 'tsuspicion'", ""),
}
