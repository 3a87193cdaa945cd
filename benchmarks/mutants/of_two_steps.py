"""Defects of messages that count in two steps, where shared subjects are in other slots."""

from mutant import Mutant, one

TESTS = ("store/test_two_steps.py", "store/test_counted_ahead.py", "services/test_known_devices.py")
"""Where most of them are noticed."""
DEFECTS: dict[str, Mutant] = {
    "reserved-without-room": one(
        "include_reserving", "    if not group.counted then by[name].take_back(sending, group, now, 1) end\n"
    ),
    "nothing-that-is-refused-is-given-back": one("include_reserving", "if own and group.counted then", "if false then"),
    "more-is-given-back-than-was-counted": one("include_reserving", "if own and group.counted then", "if own then"),
    "what-stays-counted-is-given-back": one(
        "include_reserving", "local own = not has(kept, name) and by[name]", "local own = by[name]"
    ),
    "what-is-spared-stays-counted": one(
        "include_findings",
        "if group.counted or group.change then sending.spared = sending.spared .. name .. ' ' end",
        "",
    ),
    "what-a-breaker-changed-stays": one("include_reserving", "own and group.change and not has", "false and not has"),
    "a-change-that-was-told-is-undone": one(
        "include_reserving", "group.change and not has(stand, name)", "group.change"
    ),
    "a-breaker-is-undone-over-others": one(
        "include_conversions", "if row[b + i - 1] ~= left[i] then return false end", "local _ = left"
    ),
    "nobody-is-spared": one(
        "include_findings", "take(sending, part.name, reputation[part.exempts])", "take(sending, part.name)"
    ),
    "windows-elsewhere-refuse-nothing": one(
        "include_findings", "  take(sending, 'starts', sending.reputation.known_device)\n"
    ),
    "windows-elsewhere-refuse-known-devices": one(
        "include_findings", "take(sending, 'starts', sending.reputation.known_device)", "take(sending, 'starts')"
    ),
    "failures-elsewhere-stop-known-devices": one("include_findings", "if not reputation.known_device then", "do"),
    "failures-elsewhere-stop-nothing": one("include_findings", "take(sending, 'failures')", "local _ = sending"),
    "money-elsewhere-refuses-nothing": one("include_findings", "  sending.money_at = take(sending, 'money').at\n"),
    "money-that-is-not-given-back": one(
        "include_reserving", "sending.about.country, -messages * sending.price, at)", "sending.about.country, 0, at)"
    ),
    "a-block-follows-no-breaker": one("include_findings", "if stands and group", "if false and group"),
    "marks-of-elsewhere-are-lost": one(
        "include_findings", "sending.counted .. group.marks, group.stands", "sending.counted, group.stands"
    ),
    "an-interval-that-is-given-back-goes-on": one("include_limits", "    row[w] = math.max(0, row[w] - messages)\n"),
    "one-that-was-new-stays-asked-for": one(
        "include_reserving",
        "targets.forget(sending.subjects.address, added.number and about.pseudonym, added.country and about.country)",
        "local _ = about",
    ),
    "what-was-known-is-forgotten": one(
        "include_targets", "country = not has(countries, country .. ',') }\n  if", "country = true }\n  if"
    ),
    "all-room-is-counted-ahead": one("include_reserving", "math.floor(fits / SHARE)", "math.floor(fits)"),
    "what-is-counted-ahead-lasts": one("include_reserving", "math.min(lasts, window.ttl)", "lasts"),
    "counted-ahead-whatever-was-found": one(
        "include_reserving", "not group.counted or group.hits or", "not group.counted or"
    ),
    "counted-ahead-under-suspicion": one(
        "include_reserving", "return newcomers.are_trusted(sending.subjects.country)", "return true"
    ),
    "counted-ahead-while-a-range-is-under-suspicion": one(
        "include_newcomers", "if tonumber(ends) > now then return false end"
    ),
    "money-of-all-is-counted-ahead": one("include_spending", "(one.amount - amount) / price", "one.amount"),
    "buckets-of-others-leave-no-room": one(
        "include_reserving", "    if rule.always or fraud.meets(sending, rule) then\n", "    if true then\n"
    ),
    "requests-ahead-are-free": one("include_reserving", "[window.place] + ahead", "[window.place]"),
    "money-ahead-is-free": one("include_reserving", "ahead * sending.price", "0"),
    "levels-ahead-are-free": one(
        "include_fraud", "row[rule.level] = row[rule.level] + messages end", "local _ = row end"
    ),
    "breakers-see-one-of-many": one(
        "include_fraud", "= row[part.breaker_at + 1] + messages", "= row[part.breaker_at + 1]"
    ),
    "one-of-many-is-given-back": one(
        "include_reserving", "take_back(sending, group, at, messages)", "take_back(sending, group, at, 1)"
    ),
    "a-gateway-that-is-full-is-entered": one("gateway_enter", "local enters = wait == 0 or", "local enters = true or"),
    "a-turn-that-is-not-used-is-lost": one("gateway_leave", "redis.call('HDEL', KEYS[1], 'turn', 'turn_of')", ""),
    "a-call-that-is-not-made-stays-in-flight": one("gateway_leave", "redis.call('ZREM', KEYS[2], ARGV[1])\n"),
    "the-last-resort-is-not-asked": one(
        "include_routing", "    if resort == 0 and one.found and not one.found.entered then return nil, nil, one end\n"
    ),
    "what-a-gateway-said-is-not-told": one(
        "include_health", "if one.found then return one.found.wait, one.found.why end", ""
    ),
}
