"""Defects of what the recorder counts and the workers judge: newcomers' traffic."""

from mutant import Mutant, one

TESTS = ("api/test_human_check.py", "services/test_traffic_judge.py")
"""Where most of them are noticed."""
DEFECTS: dict[str, Mutant] = {
    "a-start-without-its-flags-in-the-event": one(
        "start", '\'","guard":"\' .. verification.guard', "'\",\"guard\":\"' .. ''"
    ),
    "an-approval-without-its-start": one("check", ", created = verification.created })", ", created = 0 })"),
    "an-approval-of-nobody": one("check", "guard = verification.guard", "guard = ''"),
    "a-start-without-its-carrier-range": one("include_approvals", " .. attempt.range .. '.'", " .. '.'"),
    "a-step-that-is-kept-twice": one(
        "traffic_commit", "(redis.call('HGET', key.traffic, 'version') or '0') ~= arg.version", "false"
    ),
    "a-step-without-a-number": one("traffic_commit", "redis.call('HINCRBY', key.traffic, 'version', 1)\n"),
    "what-was-learnt-is-lost": one(
        "traffic_commit", "redis.call('HSET', key.traffic, ARGV[i], ARGV[i + 1])", "local _ = i"
    ),
    "what-was-judged-is-judged-again": one("traffic_commit", "field, -count", "field, 0"),
    "what-came-meanwhile-is-lost": one(
        "traffic_commit", "if redis.call('HINCRBY', key.tallies, field, -count) == 0 then", "do"
    ),
    "a-suspicion-that-is-not-told": one(
        "suspicions_note", "suspicion.ask and ends or 0, suspicion.trickle\n", "0, suspicion.trickle\n"
    ),
    "a-suspicion-for-no-reason": one(
        "suspicions_note", "suspicion.ask and ends or 0, suspicion.trickle\n", "ends, suspicion.trickle\n"
    ),
    "a-range's-suspicion-that-is-not-told": one("suspicions_note", "row.tail = table.concat(ranges)", "row.tail = ''"),
    "a-row-that-does-not-count": one(
        "suspicions_note", "  row[rows.ENDS] = math.max(row[rows.ENDS], now + ruleset.ttls.country)\n"
    ),
    "what-is-usual-is-not-told": one("suspicions_note", ", suspicion.usual\n", ", 0\n"),
    "unblock-leaves-the-suspicion": one("guard_unblock", " or name == 'tsuspicion'", ""),
    "a-block-that-nobody-leaves": one("guard_roll_back", "'ZINCRBY', hour, -1,", "'ZINCRBY', hour, 0,"),
    "a-block-left-in-another-hour": one(
        "guard_roll_back", "math.floor(verification.created / 3600000)", "math.floor(now / 3600000)"
    ),
    "a-block-that-known-numbers-leave": one(
        "guard_roll_back",
        "if not (was_known or approvals.has(verification, 'a') or approvals.has(verification, 's')) then",
        "if not was_known then",
    ),
    "a-number-that-leaves-its-block-again-and-again": one(
        "guard_roll_back", "if not (was_known or approvals", "if not (approvals"
    ),
    "nobody-is-under-suspicion": one("include_newcomers", "if now >= ends then return end", "do return end"),
    "a-suspicion-without-end": one("include_newcomers", "if now >= ends then return end", "local _ = ends"),
    "known-numbers-are-asked": one(
        "include_newcomers", "attempt.allowlisted or attempt.reputation.approved then", "attempt.allowlisted then"
    ),
    "safe-numbers-are-asked": one("include_newcomers", " or attempt.allowlisted or", " or"),
    "resends-are-asked": one("include_newcomers", " or attempt.kind == 'resend' then return", " then return"),
    "resends-of-who-was-known-take-from-the-trickle": one(
        "include_newcomers", "if attempt.kind == 'resend' and approvals", "if false and approvals"
    ),
    "resends-escape-the-trickle": one("include_newcomers", "attempt.kind == 'fallback'", "attempt.kind ~= 'start'"),
    "a-resend-that-costs-nobody": one("resend", ", guard = verification.guard,", ","),
    "a-resend-without-its-carrier-range": one(
        "resend", ", range = string.match(verification.guard, '^%a*(%d*)') })", ", range = '' })"
    ),
    "a-range-like-its-country": one("include_newcomers", "if own_ends then", "if false then"),
    "a-range-by-its-beginning": one("include_newcomers", "'\\n' .. attempt.range .. ' (%d+)", "'\\n%d* (%d+)"),
    "a-check-that-helps-nobody": one("include_newcomers", "if attempt.passed or attempt.kind", "if attempt.kind"),
    "a-check-that-always-helps": one("include_newcomers", "rule.asks and not checked_too", "rule.asks"),
    "asking-where-nobody-can": one("include_newcomers", "rule.asks and not checked_too", "not checked_too"),
    "a-trickle-of-all": one("include_newcomers", "wait > 0 then rule_hits", "wait > 9e9 then rule_hits"),
    "a-trickle-of-none": one("include_newcomers", "level = math.max(0, level)", "level = capacity"),
    "a-trickle-that-does-not-leak": one("include_newcomers", "row[at.ntrickle] / HOUR *", "0 *"),
    "a-trickle-that-is-not-counted": one(
        "include_newcomers", "= level + 1, now, true, true", "= level, now, true, true"
    ),
    "who-is-asked-is-not-counted": one(
        "start",
        "    if guard.count_asked(attempt) then streams.report",
        "    if guard.count_asked(attempt) and false then streams.report",
    ),
    "who-passes-after-others-is-no-attempt": one("include_approvals", "(attempt.repeated and 'r' or '')", "''"),
    "who-is-asked-and-passes-is-two-attempts": one(
        "include_guard", "attempt.repeated = not is_first(verification, 'passed')", "attempt.repeated = true"
    ),
    "who-is-asked-counts-nowhere": one(
        "include_guard",
        "  rows.write(application, application.life)\n  if address and longest > 0 then\n",
        "  if false then\n",
    ),
    "asked-whatever-refuses": one(
        "include_rule_hits", "if not hit.records and not hit.asks then return false end", "local _ = hit"
    ),
    "refused-and-not-asked": one("start", "and not attempt.passed then", "and false then"),
    "a-number-that-lets-an-alarm-stand": one(
        "include_guard",
        "return attempt.suspected and is_first(attempt.verification, 'asked')",
        "return attempt.suspected",
    ),
    "an-address-that-lets-an-alarm-stand": one(
        "include_guard",
        "or verification.ip_prefix ~= '' and verification.ip_prefix or verification.pseudonym",
        "or verification.pseudonym",
    ),
    "a-network-that-lets-an-alarm-stand": one(
        "include_guard", "verification.prefix_48 ~= '' and verification.prefix_48 or ", ""
    ),
    "asked-by-other-rules-counts-twice": one(
        "include_guard", "return attempt.suspected and is_first", "return is_first"
    ),
    "an-application-that-is-asked-without-end": one("include_guard", "  rows.write(application, application.life)\n"),
    "an-address-that-is-kept-for-being-asked": one(
        "include_guard", "math.max(2 * longest, redis.call('PTTL', address.key))", "address.life"
    ),
    "a-refused-start-uses-up-the-trickle": one(
        "include_fraud", "    if attempt.trickled and part.name == 'country' then", "    if false then"
    ),
    "an-address-that-asks-without-end": one("include_guard", "  guard.test_sliding(hits, 'ip', row)\n"),
    "an-address-that-is-asked-beyond-its-windows": one(
        "include_guard", "if not rule_hits.refusal(hits) then rows.write(", "do rows.write("
    ),
    "a-trickle-that-fills-without-bound": one(
        "include_newcomers", "math.min(capacity, row[at.ltrickle])", "row[at.ltrickle]"
    ),
    "a-check-that-is-not-remembered": one("include_approvals", "attempt.passed and 'q'", "false and 'q'"),
    "a-check-that-is-not-judged-apart": one(
        "include_approvals", "attempt.passed_under_suspicion and 'k'", "false and 'k'"
    ),
    "one-bucket-for-all": one(
        "ruleset_register", "if rule.checked then rule.condition", "if false then rule.condition"
    ),
    "a-breaker-that-stops-who-passed": one("include_fraud", "breaker.asks and attempt.passed and", "false and"),
}
