"""Defects of the guard's rules against fraud: buckets, breakers, the alarm on failures."""

from mutant import Mutant, one

_FRAUD: dict[str, Mutant] = {
    "a-bucket-that-does-not-leak": one(
        "include_buckets",
        "math.min(level, most) - most / rule.window * math.max(0, now - values[rows.TIME])",
        "math.min(level, most)",
    ),
    "a-bucket-that-stays-as-full-as-it-was": one("include_buckets", "math.min(level, most)", "level"),
    "a-bucket-that-does-not-grow": one(
        "include_buckets", "rule.amount + rule.factor * counters", "rule.amount + 0 * counters"
    ),
    "a-bucket-without-its-factor": one(
        "include_buckets", "rule.amount + rule.factor * counters", "rule.amount + counters"
    ),
    "a-bucket-of-one-more": one("include_buckets", "level + 1 - math.max(1, most)", "level - math.max(1, most)"),
    "nothing-is-given-back": one("include_approvals", "values[rule.level] - messages(rule)", "values[rule.level]"),
    "one-message-is-given-back": one(
        "include_approvals", "return bucket_counts.times(record['in_' .. part.name], rule.name)", "return 1"
    ),
    "all-messages-are-given-back": one(
        "include_approvals",
        "return bucket_counts.times(record['in_' .. part.name], rule.name)",
        "return tonumber(redis.call('HGET', KEYS[1], 'sends'))",
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
        "(not rule.new or new[rule.new]) and tonumber(record.sends) or 0",
    ),
    "approvals-that-are-not-counted": one(
        "include_approvals", "then counters.add(values, rule.approved, rule.window) end", "then local _ = nil end"
    ),
    "approvals-that-are-counted-twice": one(
        "include_approvals", "done[rule.level], done[rule.approved] = true, true", "done[rule.level] = true"
    ),
    "known-numbers-give-back": one("include_approvals", "approved = not flags.a,", "approved = true,"),
    "known-contexts-give-back": one("include_approvals", "known_device = not flags.f }", "known_device = true }"),
    "safe-numbers-give-back": one(
        "include_approvals", "if flags.s or not record.block then", "if not record.block then"
    ),
    "a-number-that-is-not-new-gives-back": one(
        "include_approvals", "return (not rule.new or new[rule.new]) and 1 or 0", "return 1"
    ),
    "an-approved-number-stays-asked": one("include_approvals", "flags.n and record.pseudonym", "nil"),
    "an-approved-country-stays-asked": one("include_approvals", "flags.c and record.country", "nil"),
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
    "buckets-that-nothing-goes-into": one("include_fraud", "rule.held + (rule.counts and more or 0)", "rule.held"),
    "buckets-that-everything-goes-into": one(
        "include_fraud", "rule.held + (rule.counts and more or 0)", "rule.held + more"
    ),
    "home-and-abroad-alike": one(
        "include_fraud",
        "rule.held, rule.counts = nil, false\n    if not rule.place or rule.place == sending.place then",
        "rule.held, rule.counts = nil, false\n    if true then",
    ),
    "a-level-of-the-call-before": one("include_fraud", "rule.held, rule.counts = nil, false", "rule.counts = false"),
    "a-breaker-of-the-call-before": one(
        "include_fraud",
        "    part.change = nil\n",
    ),
    "every-number-is-new-to-its-address": one(
        "include_asked", "number = not has(numbers, string.sub(pseudonym, 1, LENGTH))", "number = true"
    ),
    "no-country-is-new-to-its-address": one(
        "include_asked", "country = not has(countries, country .. ',')", "country = false"
    ),
    "nobody-notes-what-an-address-asks": one(
        "include_guard",
        "then asked.add(found.address, sending.number, sending.about.country) end",
        "then local _ = 0 end",
    ),
    "what-an-address-asks-is-kept-for-ever": one(
        "include_asked", "  if now >= ends then return { number = true, country = true } end\n"
    ),
    "a-counter-that-does-not-fade": one("include_counters", "before * (1 - (now % window) / window)", "before"),
    "a-counter-without-its-past": one(
        "include_counters", "if passed == 1 then count, before = 0, count end", "if passed == 1 then return 0 end"
    ),
}
_BREAKERS: dict[str, Mutant] = {
    "judged-while-people-type": one(
        "include_conversions",
        "values[b + 3], values[b + 4], values[b + 1], values[b + 2] = values[b + 1], values[b + 2], 0, 0",
        "values[b + 5], values[b + 6] = values[b + 5] + values[b + 1], values[b + 6] + values[b + 2]\n"
        "    values[b + 1], values[b + 2] = 0, 0",
    ),
    "what-was-seen-does-not-fade": one(
        "include_conversions",
        "values[b + 5] * KEPT + values[b + 3], values[b + 6] * KEPT",
        "values[b + 5] + values[b + 3], values[b + 6]",
    ),
    "a-breaker-that-never-opens": one(
        "include_conversions", "    open(values, b, rule)\n    return 'open', true\n", ""
    ),
    "a-breaker-that-opens-for-few": one("include_conversions", "(was_open and rule.probe or rule.sends)", "rule.probe"),
    "a-trickle-is-judged-by-too-many": one(
        "include_conversions", "(was_open and rule.probe or rule.sends)", "rule.sends"
    ),
    "a-block-that-does-not-double": one(
        "include_conversions",
        "closed_for = math.min(2 * closed_for, rule.max_closed_for)",
        "closed_for = closed_for",
    ),
    "approvals-of-what-is-forgotten": one("include_conversions", "  if created < values[b + 9] then return end\n"),
    "a-clock-set-back-ages-a-breaker": one("include_conversions", "math.max(values[b], slot)", "slot"),
    "a-block-without-a-longest": one(
        "include_conversions", "math.min(2 * closed_for, rule.max_closed_for)", "2 * closed_for"
    ),
    "a-block-that-remembers": one(
        "include_conversions", "for i = b + 1, b + 6 do values[i] = 0 end", "for _ = 1, 6 do end"
    ),
    "a-breaker-that-opens-at-once-after-its-block": one(
        "include_conversions", "  elseif not rule.passes_while_open then\n    return 'probing', false\n"
    ),
    "a-breaker-that-never-closes": one("include_conversions", "    values[b + 7], values[b + 8] = 0, 0\n"),
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
    "starts-that-no-breaker-sees": one("include_fraud", "values[part.breaker + 1] + more", "values[part.breaker + 1]"),
    "resends-that-a-breaker-sees": one(
        "include_fraud", " and sending.kind == 'start' then\n    values", " then\n    values"
    ),
    "a-refusal-forgets-that-a-breaker-opened": one("start", "  guard.settle_changes(sending)\n"),
    "a-change-is-not-told": one("include_guard", "    if change then\n", "    if false then\n"),
    "approvals-that-no-breaker-sees": one(
        "include_approvals", "    conversions.approve(values, part.breaker, created)\n"
    ),
}
_FAILURES: dict[str, Mutant] = {
    "an-alarm-each-time": one("include_failure_alarm", " and values[rule.told_at] ~= interval", ""),
    "an-alarm-once-for-ever": one(
        "include_failure_alarm", " and values[rule.told_at] ~= interval", " and values[rule.told_at] == 0"
    ),
    "an-alarm-for-few": one("include_failure_alarm", "wrong >= rule.wrong and ", ""),
    "an-alarm-whatever-the-share": one("include_failure_alarm", " and wrong > rule.share * (wrong + right)", ""),
    "right-codes-that-do-not-count": one(
        "include_failure_alarm", "right and rule.right_at or rule.wrong_at", "rule.wrong_at"
    ),
    "an-alarm-that-is-not-told": one(
        "check", "  failure_alarm.report(KEYS[4]", "  local function never() end never(KEYS[4]"
    ),
    "failures-stop-nothing": one(
        "include_guard",
        "rule_hits.add(list, ruleset.failures, failure_alarm.wait(found.application.values))",
        "failure_alarm.wait(found.application.values)",
    ),
}
DEFECTS: dict[str, Mutant] = {**_FRAUD, **_BREAKERS, **_FAILURES}
