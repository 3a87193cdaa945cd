"""Defects of the guard's rules against fraud: buckets, breakers, the alarm on failures."""

from mutant import Mutant, one

_FRAUD: dict[str, Mutant] = {
    "a-bucket-that-does-not-leak": one(
        "include_buckets", "  if passed > 0 then level = level - capacity / rule.window * passed end\n"
    ),
    "a-bucket-that-stays-as-full-as-it-was": one(
        "include_buckets", "  if level > capacity then level = capacity end\n"
    ),
    "a-bucket-that-does-not-grow": one("include_buckets", "rule.factor * counters", "0 * counters"),
    "a-bucket-without-its-factor": one("include_buckets", "rule.factor * counters", "counters"),
    "a-bucket-that-grows-without-bound": one("include_buckets", "if rule.max_growth and", "if false and"),
    "a-bucket-that-grows-by-its-amount": one("include_buckets", "rule.growth_of_usual * usual", "0"),
    "a-bucket-that-does-not-grow-by-its-amount": one(
        "include_buckets", "rule.growth_of_usual * usual, rule.amount)", "rule.growth_of_usual * usual, 0)"
    ),
    "a-block-that-takes-a-week-for-a-day": one("ruleset_register", "/ (rule.usual_window or DAY)", "/ DAY"),
    "an-hour-of-a-block-like-any-other": one("ruleset_register", "math.max(rule.window, DAY / 4)", "rule.window"),
    "a-block-in-which-nothing-is-usual": one(
        "ruleset_register", "ipairs({ rule.window, rule.usual_window })", "ipairs({ rule.window })"
    ),
    "known-whatever-came-since": one(
        "include_number", "recently(self[APPROVED]) and not is_stranger", "recently(self[APPROVED]) or is_stranger"
    ),
    "a-stranger-one-message-later": one(
        "include_number", "if messages <= 0 then return", "if messages < 0 then return"
    ),
    "a-stranger-by-starts-alone": one("include_number", "messages - 1 - #further", "messages - 1"),
    "a-stranger-by-what-was-before": one(
        "include_number", "if tonumber(at) <= self[APPROVED] then return false end", "local _ = at"
    ),
    "a-further-message-that-is-not-noted": one(
        "include_guard", " else number.resent(state, verification.id) end", " end"
    ),
    "a-stranger-abroad-as-late-as-at-home": one(
        "include_number", "ruleset.known_messages[zone]", "ruleset.known_messages.home"
    ),
    "what-a-stranger-in-the-middle-is-kept": one("include_approvals", "no_mark and approvals.has", "approvals.has"),
    "an-approval-of-what-no-breaker-counted": one(
        "include_approvals", "part.breakers[1] and not approvals.has(record, 'a') then", "part.breakers[1] then"
    ),
    "a-bucket-of-one-more": one(
        "include_buckets", "level + 1 - (capacity > 1 and capacity or 1)", "level - (capacity > 1 and capacity or 1)"
    ),
    "nothing-is-given-back": one("include_approvals", "math.max(0, row[rule.level] - times)", "row[rule.level]"),
    "one-message-is-given-back": one(
        "include_approvals", "_, times = string.gsub(record.guard, rule.mark, '')", "times = 1"
    ),
    "all-messages-are-given-back": one(
        "include_approvals", "_, times = string.gsub(record.guard, rule.mark, '')", "times = record.sends"
    ),
    "a-resend-forgets-what-was-counted": one(
        "resend",
        "(verification.guard == '' and '.' or verification.guard) .. attempt.counted",
        "string.match(verification.guard, '^%a*.') .. attempt.counted",
    ),
    "a-resend-notes-nothing": one(
        "resend", "(verification.guard == '' and '.' or verification.guard) .. attempt.counted", "verification.guard"
    ),
    "a-start-notes-nothing": one("include_approvals", "    .. attempt.counted\n", "    .. ''\n"),
    "what-does-not-count-is-noted": one(
        "include_fraud",
        "if counts then level, counted = level + 1, counted .. rule.mark end",
        "if counts then level = level + 1 end\n    counted = counted .. rule.mark",
    ),
    "all-messages-are-given-back-to-an-address": one(
        "include_approvals", "new[rule.new]) and 1 or 0", "new[rule.new]) and record.sends or 0"
    ),
    "approvals-that-are-not-counted": one("include_approvals", "makes_room and part.approvals or {}", "{}"),
    "approvals-that-are-counted-twice": one("ruleset_register", "      known[place] = true\n"),
    "given-back-each-time-that-it-is-seen": one("guard_roll_back", "    verification.guard = '' -- so it is done\n"),
    "what-is-given-back-is-not-written": one(
        "guard_roll_back", "for _, row in pairs(by_key) do rows.write(row, row.life) end\n"
    ),
    "each-approval-reads-anew": one("guard_roll_back", "if key and not by_key[key] then", "if key then"),
    "one-number-makes-room-again-and-again": one("guard_roll_back", "ARGV[arg.rest + i - 1] == '1'", "false"),
    "nobody-tells-that-a-number-was-known": one("check", "known = reputation.approved and 1 or 0", "known = 0"),
    "an-approval-that-is-not-given-back": one("check", " known = reputation.approved and 1 or 0,", ""),
    "known-numbers-give-back": one(
        "include_approvals", "approved = no_mark and approvals.has(record, 'a'),", "approved = false,"
    ),
    "known-contexts-give-back": one(
        "include_approvals", "known_device = approvals.has(record, 'f') or", "known_device ="
    ),
    "who-passed-a-check-gives-back": one("include_approvals", " or approvals.has(record, 'q') }", " }"),
    "safe-numbers-give-back": one("include_approvals", "  if approvals.has(record, 's') then return end\n"),
    "a-number-that-is-not-new-gives-back": one(
        "include_approvals", "times = (not rule.new or new[rule.new]) and 1 or 0", "times = 1"
    ),
    "an-approved-number-stays-asked": one("include_approvals", "new.number and record.pseudonym", "nil"),
    "an-approved-country-stays-asked": one("include_approvals", "new.country and record.country", "nil"),
    "known-numbers-are-not-spared": one(
        "include_fraud", "not reputation[part.exempts]", "not (part.exempts ~= 'approved' and reputation[part.exempts])"
    ),
    "known-contexts-are-not-spared": one(
        "include_fraud", "not reputation[part.exempts]", "not (part.exempts == 'approved' and reputation[part.exempts])"
    ),
    "a-known-context-passes-for-its-number": one(
        "include_fraud", "not reputation[part.exempts]", "not reputation.known_device"
    ),
    "the-safe-list-is-nothing": one("include_fraud", "  if attempt.allowlisted then return end\n"),
    "buckets-that-nothing-goes-into": one(
        "include_fraud", "level, counted = level + 1, counted", "level, counted = level, counted"
    ),
    "buckets-that-everything-goes-into": one(
        "include_fraud",
        "    if counts then level, counted = level + 1, counted .. rule.mark end\n",
        "    if counts then counted = counted .. rule.mark end\n    level = level + 1\n",
    ),
    "home-and-abroad-alike": one("ruleset_register", "if not rule.zone or rule.zone == zone then", "if true then"),
    "every-number-is-new-to-its-address": one(
        "include_targets", "number = not has(numbers, string.sub(pseudonym, 1, LENGTH))", "number = true"
    ),
    "no-country-is-new-to-its-address": one(
        "include_targets", "country = not has(countries, country .. ',') }\nend", "country = false }\nend"
    ),
    "nobody-notes-what-an-address-asks": one(
        "include_guard",
        "then targets.add(states.address, verification.pseudonym, verification.country) end",
        "then local _ = 0 end",
    ),
    "what-an-address-asks-is-kept-for-ever": one(
        "include_targets", "if now > ends or address[rows.ENDS] == 0 then", "if address[rows.ENDS] == 0 then"
    ),
    "a-counter-that-does-not-fade": one("include_counters", "before * (1 - (now % window) / window)", "before"),
    "a-counter-without-its-past": one(
        "include_counters", "if passed == 1 then count, before = 0, count end", "if passed == 1 then return 0 end"
    ),
}
_BREAKERS: dict[str, Mutant] = {
    "judged-while-people-type": one(
        "include_conversions",
        "row[b + 3], row[b + 4], row[b + 1], row[b + 2] = row[b + 1], row[b + 2], 0, 0",
        "row[b + 5], row[b + 6] = row[b + 5] + row[b + 1], row[b + 6] + row[b + 2]\n    row[b + 1], row[b + 2] = 0, 0",
    ),
    "what-was-seen-does-not-fade": one(
        "include_conversions",
        "row[b + 5] * DECAY + row[b + 3], row[b + 6] * DECAY",
        "row[b + 5] + row[b + 3], row[b + 6]",
    ),
    "a-breaker-that-never-opens": one(
        "include_conversions", "  if ripe and bad then", "  if ripe and bad and false then"
    ),
    "a-breaker-that-opens-for-few": one("include_conversions", "sent < rule.sends", "sent < rule.probe"),
    "a-trickle-is-judged-by-too-many": one("include_conversions", "sent >= rule.probe", "sent >= rule.sends"),
    "a-block-that-does-not-double": one(
        "include_conversions",
        "closed_for = math.min(2 * closed_for, rule.max_closed_for)",
        "closed_for = closed_for",
    ),
    "approvals-of-what-is-forgotten": one("include_conversions", "  if created < row[b + 9] then return end\n"),
    "a-clock-set-back-ages-a-breaker": one("include_conversions", "math.max(row[b], slot)", "slot"),
    "a-block-without-a-longest": one(
        "include_conversions", "math.min(2 * closed_for, rule.max_closed_for)", "2 * closed_for"
    ),
    "a-block-that-remembers": one(
        "include_conversions", "for i = b + 1, b + 6 do row[i] = 0 end", "for _ = 1, 6 do end"
    ),
    "a-breaker-that-opens-at-once-after-its-block": one(
        "include_conversions", "  elseif not rule.passes_while_open then\n    return 'probing', false\n"
    ),
    "a-breaker-that-never-closes": one("include_conversions", "    row[b + 7], row[b + 8] = 0, 0\n"),
    "late-approvals-count-now": one("include_conversions", "row[b] - math.floor(created / SLOT), 1\n", "0, 1\n"),
    "late-approvals-count-in-full": one("include_conversions", "do amount = amount * DECAY end", "do end"),
    "home-is-closed": one("include_fraud", "stands == 'open' and not breaker.passes_while_open", "stands == 'open'"),
    "nothing-is-closed": one("include_fraud", "stands == 'open' and not breaker.passes_while_open", "false"),
    "no-trickle-is-counted": one(
        "ruleset_register",
        "rule.condition, rule.key, rule.value = 'stands', rule.breaker, rule.breaker_state",
        "rule.condition, rule.key, rule.value = 'stands', rule.breaker, 'never'",
    ),
    "trickles-hold-always": one(
        "ruleset_register",
        "    if rule.breaker then rule.condition, rule.key, rule.value = 'stands',"
        " rule.breaker, rule.breaker_state end\n",
    ),
    "starts-that-no-breaker-sees": one(
        "include_fraud", "  if attempt.kind == 'start' then row[b + 1] = row[b + 1] + 1 end\n"
    ),
    "resends-that-a-breaker-sees": one(
        "include_fraud", "  if attempt.kind == 'start' then row[b + 1]", "  if true then row[b + 1]"
    ),
    "a-refusal-forgets-that-a-breaker-opened": one("start", "  fraud.keep_changes(attempt)\n"),
    "a-refusal-stays-in-its-buckets": one(
        "include_fraud",
        "row[rule.level] = math.max(0, row[rule.level] - 1) end",
        "local _ = row end",
    ),
    "a-refusal-that-a-breaker-sees": one(
        "include_fraud",
        "= math.max(0, row[part.breaker_at + 1] - 1) end",
        "= row[part.breaker_at + 1] end",
    ),
    "a-change-is-not-told": one("include_guard", "  for i = 1, #changes do\n", "  for i = 1, 0 do\n"),
    "approvals-that-no-breaker-sees": one(
        "include_approvals", "    conversions.approve(row, part.breaker_at, record.created)\n"
    ),
}
_FAILURES: dict[str, Mutant] = {
    "an-alarm-each-time": one("include_failure_alarm", " or application[rule.alarmed_at] == interval", ""),
    "an-alarm-once-for-ever": one(
        "include_failure_alarm", "application[rule.alarmed_at] == interval", "application[rule.alarmed_at] > 0"
    ),
    "an-alarm-for-few": one("include_failure_alarm", "  if wrong < rule.wrong then return 0 end\n"),
    "an-alarm-whatever-the-share": one("include_failure_alarm", "return wrong > rule.share * all and", "return"),
    "right-codes-that-do-not-count": one(
        "include_failure_alarm", "right and rule.right_at or rule.wrong_at", "rule.wrong_at"
    ),
    "an-alarm-that-is-not-told": one("check", "    rule_hits.report_change(", "    local function never() end never("),
    "failures-stop-nothing": one(
        "include_guard", "    if wait > 0 then rule_hits.add(list, ruleset.failures, wait, wrong, all) end\n"
    ),
    "failures-stop-known-devices": one(
        "include_guard",
        "if unknown and ruleset.failures then",
        "if ruleset.failures then",
    ),
}
TESTS = ("store/test_guard_*.py",)
"""Where most of them are noticed."""
DEFECTS: dict[str, Mutant] = {**_FRAUD, **_BREAKERS, **_FAILURES}
