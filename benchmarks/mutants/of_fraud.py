"""Defects of the guard's rules against fraud: buckets, breakers, the alarm on failures."""

from mutant import Mutant, one

_FRAUD: dict[str, Mutant] = {
    "a-bucket-that-does-not-leak": one(
        "include_buckets",
        "math.min(level, most) - most / rule.window * math.max(0, now - kept.at)",
        "math.min(level, most)",
    ),
    "a-bucket-that-stays-as-full-as-it-was": one("include_buckets", "math.min(level, most)", "level"),
    "a-bucket-that-does-not-grow": one("include_buckets", "most = most + rule.factor", "most = most + 0"),
    "a-bucket-without-its-factor": one("include_buckets", "rule.factor * counters.value", "counters.value"),
    "a-bucket-of-one-more": one("include_buckets", "level + 1 - math.max(1, most)", "level - math.max(1, most)"),
    "nothing-is-given-back": one("include_buckets", "kept[rule.name] - sends", "kept[rule.name]"),
    "one-message-is-given-back": one(
        "include_approvals", "return bucket_counts.times(found['in_' .. part.name], rule.name)", "return 1"
    ),
    "all-messages-are-given-back": one(
        "include_approvals",
        "return bucket_counts.times(found['in_' .. part.name], rule.name)",
        "return tonumber(found.sends)",
    ),
    "a-resend-forgets-what-was-counted": one(
        "resend", "bucket_counts.note(KEYS[1], sending, found)", "bucket_counts.note(KEYS[1], sending, {})"
    ),
    "a-resend-notes-nothing": one("resend", "bucket_counts.note(KEYS[1], sending, found)\n"),
    "a-start-notes-nothing": one("start", "bucket_counts.note(KEYS[1], sending, {})\n"),
    "what-does-not-count-is-noted": one("include_bucket_counts", "rule.counts or false", "true"),
    "all-messages-are-given-back-to-an-address": one(
        "include_approvals",
        "(not rule.new or new[rule.new]) and 1 or 0",
        "(not rule.new or new[rule.new]) and tonumber(found.sends) or 0",
    ),
    "approvals-that-are-not-counted": one(
        "include_approvals", "state[rule.approvals] = counters.add(state[rule.approvals], rule.window)", "local _ = nil"
    ),
    "approvals-that-are-counted-twice": one(
        "include_approvals", "done[rule.name], done[rule.approvals] = true, true", "done[rule.name] = true"
    ),
    "known-numbers-give-back": one("include_approvals", "approved = not flags.a,", "approved = true,"),
    "known-contexts-give-back": one("include_approvals", "known_device = not flags.f }", "known_device = true }"),
    "safe-numbers-give-back": one("include_approvals", "if flags.s or #names == 0 then", "if #names == 0 then"),
    "a-number-that-is-not-new-gives-back": one(
        "include_approvals", "return (not rule.new or new[rule.new]) and 1 or 0", "return 1"
    ),
    "an-approved-number-stays-asked": one("include_approvals", "if keys.asked and flags.n then", "if false then"),
    "an-approved-country-stays-asked": one("include_approvals", "if keys.asked and flags.c then", "if false then"),
    "known-numbers-are-not-spared": one(
        "include_fraud", "part.exempts == 'approved' and sending.reputation.approved", "false"
    ),
    "known-contexts-are-not-spared": one(
        "include_fraud", "part.exempts == 'known_device' and sending.reputation.known_device", "false"
    ),
    "a-known-context-passes-for-its-number": one(
        "include_fraud",
        "part.exempts == 'approved' and sending.reputation.approved",
        "part.exempts == 'approved' and sending.reputation.known_device",
    ),
    "the-safe-list-is-nothing": one("include_fraud", "sending.safe or (part.starts", "(part.starts"),
    "buckets-that-nothing-goes-into": one("include_fraud", "rule.level + (rule.counts and more or 0)", "rule.level"),
    "buckets-that-everything-goes-into": one(
        "include_fraud", "rule.level + (rule.counts and more or 0)", "rule.level + more"
    ),
    "home-and-abroad-alike": one(
        "include_fraud",
        "    rule.counts = false\n    if not rule.place or rule.place == sending.place then",
        "    rule.counts = false\n    if true then",
    ),
    "a-level-of-the-call-before": one("include_fraud", "    rule.level = nil\n"),
    "a-breaker-of-the-call-before": one(
        "include_fraud",
        "part.kept, part.seen, part.change = sending.kept[part.name], nil, nil",
        "part.kept = sending.kept[part.name]",
    ),
    "every-number-is-new-to-its-address": one("include_guard", "number = asked[1] == 0", "number = true"),
    "no-country-is-new-to-its-address": one("include_guard", "country = asked[2] == 0", "country = false"),
    "nobody-notes-what-an-address-asks": one(
        "include_guard", "redis.call('SADD', sending.keys.asked, sending.number, sending.about.country)", "0"
    ),
    "what-an-address-asks-is-kept-for-ever": one(
        "include_guard", "redis.call('PEXPIRE', sending.keys.asked, ruleset.lifetimes.asked, 'NX')", ""
    ),
    "a-counter-that-does-not-fade": one("include_counters", "before * (1 - (now % window) / window)", "before"),
    "a-counter-without-its-past": one(
        "include_counters", "if passed == 1 then count, before = 0, count end", "if passed == 1 then return 0 end"
    ),
}
_BREAKERS: dict[str, Mutant] = {
    "judged-while-people-type": one(
        "include_conversions",
        "seen[4], seen[5], seen[2], seen[3] = seen[2], seen[3], 0, 0",
        "seen[6], seen[7] = seen[6] + seen[2], seen[7] + seen[3]\n    seen[2], seen[3] = 0, 0",
    ),
    "what-was-seen-does-not-fade": one(
        "include_conversions", "seen[6] * KEPT + seen[4], seen[7] * KEPT", "seen[6] + seen[4], seen[7]"
    ),
    "a-breaker-that-never-opens": one("include_conversions", "    open(seen, rule)\n    return 'open', true\n", ""),
    "a-breaker-that-opens-for-few": one("include_conversions", "(was_open and rule.probe or rule.sends)", "rule.probe"),
    "a-trickle-is-judged-by-too-many": one(
        "include_conversions", "(was_open and rule.probe or rule.sends)", "rule.sends"
    ),
    "a-block-that-does-not-double": one(
        "include_conversions",
        "closed_for = math.min(2 * closed_for, rule.max_closed_for)",
        "closed_for = closed_for",
    ),
    "approvals-of-what-is-forgotten": one("include_conversions", "  if created < seen[10] then return end\n"),
    "a-clock-set-back-ages-a-breaker": one("include_conversions", "math.max(seen[1], slot)", "slot"),
    "a-block-without-a-longest": one(
        "include_conversions", "math.min(2 * closed_for, rule.max_closed_for)", "2 * closed_for"
    ),
    "a-block-that-remembers": one("include_conversions", "for i = 2, 7 do seen[i] = 0 end", "for _ = 2, 7 do end"),
    "a-breaker-that-opens-at-once-after-its-block": one(
        "include_conversions", "  elseif not rule.passes_while_open then\n    return 'probing', false\n"
    ),
    "a-breaker-that-never-closes": one("include_conversions", "  seen[8], seen[9] = 0, 0\n"),
    "late-approvals-count-now": one("include_conversions", "if age <= 0 then", "if true then"),
    "late-approvals-count-in-full": one("include_conversions", "do weight = weight * KEPT end", "do end"),
    "home-is-closed": one("include_fraud", "stands == 'open' and not rule.passes_while_open", "stands == 'open'"),
    "nothing-is-closed": one("include_fraud", "stands == 'open' and not rule.passes_while_open", "false"),
    "no-trickle-is-counted": one(
        "include_fraud", "(not rule.breaker or sending.stands[rule.breaker] == rule.breaker_state)", "not rule.breaker"
    ),
    "trickles-hold-always": one(
        "include_fraud", "(not rule.breaker or sending.stands[rule.breaker] == rule.breaker_state)", "true"
    ),
    "starts-that-no-breaker-sees": one(
        "include_fraud", "part.seen[2] = part.seen[2] + more", "part.seen[2] = part.seen[2]"
    ),
    "resends-that-a-breaker-sees": one(
        "include_fraud", "if sending.kind == 'start' then part.seen[2]", "if true then part.seen[2]"
    ),
    "a-refusal-forgets-that-a-breaker-opened": one("start", "  fraud.write_changes(sending)\n"),
    "a-change-is-not-told": one("include_guard", "    if change then\n", "    if false then\n"),
    "approvals-that-no-breaker-sees": one("include_approvals", "    conversions.approve(state.c, created)\n"),
}
_FAILURES: dict[str, Mutant] = {
    "an-alarm-each-time": one("include_failure_alarm", " and kept.told ~= interval", ""),
    "an-alarm-once-for-ever": one("include_failure_alarm", " and kept.told ~= interval", " and not kept.told"),
    "an-alarm-for-few": one("include_failure_alarm", "wrong >= rule.wrong and ", ""),
    "an-alarm-whatever-the-share": one("include_failure_alarm", " and wrong > rule.share * (wrong + right)", ""),
    "right-codes-that-do-not-count": one("include_failure_alarm", "right and 'right' or 'wrong'", "'wrong'"),
    "an-alarm-that-is-not-told": one(
        "check", "  failure_alarm.report(KEYS[4]", "  local function never() end never(KEYS[4]"
    ),
    "failures-stop-nothing": one(
        "include_guard",
        "rule_hits.add(list, ruleset.failures, failure_alarm.wait(kept.failures))",
        "failure_alarm.wait(kept.failures)",
    ),
}
DEFECTS: dict[str, Mutant] = {**_FRAUD, **_BREAKERS, **_FAILURES}
