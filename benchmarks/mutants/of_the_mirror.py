"""Defects of the mirror: what it keeps back, when it is relied on, and what is written over what."""

from mutant import Mutant, one

TESTS = (
    "store/test_mirror.py",
    "services/test_mirror_sync.py",
    "services/test_freeze.py",
    "services/test_opt_outs.py",
    "services/test_sending_rules.py",
)
"""Where most of them are noticed."""
DEFECTS: dict[str, Mutant] = {
    "mirror-of-any-ledger": one(
        "include_mirror", "  if stored_identity ~= identity then return 'mirror-foreign' end\n"
    ),
    "mirror-although-it-was-closed": one("include_mirror", "  if closed then return 'mirror-diverged' end\n"),
    "build-on-anothers-turn": one("mirror_build", "  if redis.call('GET', builder) ~= arg.builder then return 0 end\n"),
    "build-stays-closed": one("mirror_build", "  redis.call('DEL', KEYS[i])\n"),
    "mirror-behind-is-good-enough": one(
        "include_mirror", "position ~= min_sequence and tonumber", "false and tonumber"
    ),
    "mirror-must-be-ahead": one(
        "include_mirror", "position ~= min_sequence and tonumber(position) <", "tonumber(position) <="
    ),
    "mirror-without-the-operator": one("include_mirror", "is_suppressed(stored['s:*']) or "),
    "mirror-without-the-application": one("include_mirror", " or is_suppressed(stored['s:' .. own])"),
    "mirror-of-another-application": one("include_mirror", "stored['s:' .. own]", "stored['s:bank']"),
    "suppressed-for-ever": one("include_mirror", "ends and (ends == '' or tonumber(ends) > now)", "ends"),
    "suppressed-with-an-end-only": one("include_mirror", "ends == '' or ", "ends ~= '' and "),
    "suppressed-until-a-moment-too-late": one("include_mirror", "tonumber(ends) > now", "tonumber(ends) >= now"),
    "frozen-is-let-through": one(
        "include_mirror", "local over, last = ended(stored, verification)", "local over, last = nil, 0"
    ),
    "frozen-without-the-operator": one("include_mirror", "stored['f:*'] or "),
    "frozen-without-the-application": one("include_mirror", " or stored['f:' .. own]"),
    "frozen-of-another-application": one("include_mirror", "stored['f:' .. own]", "stored['f:bank']"),
    "lift-revives": one("include_mirror", " or lifted > known then", " then"),
    "lift-for-all-revives": one("include_mirror", "tonumber(stored[kind .. '*'] or 0)", "0"),
    "lift-for-one-revives": one("include_mirror", "tonumber(stored[kind .. application] or 0)", "0"),
    "lift-of-another-application-ends": one("include_mirror", "kind .. application", "kind .. 'bank'"),
    "lift-ends-what-knows-of-it": one("include_mirror", "lifted > known", "lifted >= known"),
    "lift-ends-whatever-starts": one("start", "lifted = math.huge", "lifted = 0"),
    "start-forgets-the-lift": one(
        "start",
        "= tonumber(position), math.max(lifted, earlier.lifted), consented_at or 0",
        "= tonumber(position), earlier.lifted, consented_at or 0",
    ),
    "check-forgets-the-lift": one(
        "check",
        "right and mirror.revoked(verification, basis,",
        "right and mirror.revoked({ application = verification.application }, basis,",
    ),
    "resend-forgets-the-lift": one("resend", "local why = mirror", "verification.lifted = 0\nlocal why = mirror"),
    "dispatch-forgets-the-lift": one("dispatch", "local why = mirror", "verification.lifted = 0\nlocal why = mirror"),
    "allowed-forgets-the-lift": one(
        "mirror_allows",
        "if not verification then return 0 end\n",
        "if not verification then return 0 end\nverification.lifted = 0\n",
    ),
    "mirror-a-lift-for-ever": one("mirror_write", "(kind == 'l:' or kind == 'e:')", "(kind == 'e:')"),
    "mirror-an-erasure-for-ever": one("mirror_write", "(kind == 'l:' or kind == 'e:')", "(kind == 'l:')"),
    "approved-although-frozen": one("check", "local revoked = right and", "local revoked = false and"),
    "frozen-ends-a-wrong-guess": one("check", "local revoked = right and mirror", "local revoked = mirror"),
    "frozen-stays-pending": one("check", "  record.finish(verification, 'canceled')\n"),
    "frozen-is-not-told": one(
        "check",
        "  streams.report(key.events, 'verification.canceled', verification,"
        " { reason = revoked, request = request })\n",
    ),
    "frozen-counts-as-right": one(
        "check",
        "local revoked = right and",
        "failure_alarm.count(application, right)\nsubjects.write(states)\nlocal revoked = right and",
    ),
    "frozen-is-remembered-as-right": one(
        "check",
        "local revoked = right and",
        "if right then streams.report(key.events, 'verification.approved', verification) end"
        "\nlocal revoked = right and",
    ),
    "canceled-without-a-reason": one("cancel", "{ reason = arg.reason, ", "{ reason = '', "),
    "consent-off-is-looked-at": one("include_mirror", "demand ~= 'off' and", "true and"),
    "consent-never-demanded": one("include_mirror", "if demand == 'required' and", "if false and"),
    "consent-always-demanded": one("include_mirror", "if demand == 'required' and", "if"),
    "withdrawal-overlooked": one("include_mirror", "if state == 'withdrawn' and", "if false and"),
    "withdrawal-from-before-the-start": one("include_mirror", " and tonumber(from) > tonumber(since)"),
    "consent-to-any-purpose": one("include_mirror", "':' .. verification.purpose", "':login'"),
    "consent-of-a-number-that-nobody-knows": one("include_mirror", " and demand ~= 'required'"),
    "start-asks-no-mirror": one("start", "if why then return reply.withheld { reason = why } end\n"),
    "start-with-a-consent-needs-another": one("include_mirror", "if consented_at then", "if false then"),
    "outdated-consent-counts": one("include_mirror", "consented_at <= tonumber(stated)", "consented_at < 0"),
    "consent-of-the-same-moment-counts": one(
        "include_mirror", "consented_at <= tonumber(stated)", "consented_at < tonumber(stated)"
    ),
    "start-forgets-when-it-was-agreed": one("start", "earlier.lifted), consented_at or 0", "earlier.lifted), 0"),
    "start-forgets-its-place": one("start", "= tonumber(position), math", "= 0, math"),
    "start-tells-no-number": one("start", '\'","pseudonym":"\' .. pseudonym', "'\",\"pseudonym\":\"' .. ''"),
    "start-tells-no-consent": one("start", ", consent = arg.consent })", " })"),
    "start-tells-of-no-consent": one("start", "if consented_at then --", "if false then --"),
    "start-although-nothing-is-recorded": one(
        "start", "if redis.call('XLEN', key.events) >= plan.unrecorded then return reply.events_full() end\n"
    ),
    "resend-asks-no-mirror": one("resend", "if why then return reply.withheld { reason = why } end\n"),
    "resend-after-any-withdrawal": one("resend", "arg.consent, verification.ledger, nil", "arg.consent, 1e15, nil"),
    "start-tells-no-end": one("start", '\'","expires":"%d"}\', verification.expires', '\'","expires":"%d"}\', 0'),
    "start-tells-no-payment": one("start", '\'","payment":"\' .. arg.payment', "'\",\"payment\":\"' .. ''"),
    "start-tells-no-reference": one(
        "start", '\'","payment_reference":"\' .. arg.payment_reference', "'\",\"payment_reference\":\"' .. ''"
    ),
    "allowed-although-suppressed": one("mirror_allows", "and 0 or 1", "and 1 or 1"),
    "allowed-never": one("mirror_allows", "and 0 or 1", "and 0 or 0"),
    "opt-out-of-no-place": one(
        "include_deliveries", "redis.call('HGET', mirror, 'sequence') or verification.ledger", "verification.ledger"
    ),
    "opt-out-is-not-told": one(
        "include_deliveries", "if not verification then return values end", "if true then return values end"
    ),
    "dispatch-although-behind": one("dispatch", "if why == 'mirror-behind' then return reply.mirror_behind() end\n"),
    "dispatch-although-suppressed": one("dispatch", "if why then return dropped(why) end\n"),
    "dispatch-after-any-withdrawal": one("dispatch", "arg.consent, verification.ledger, nil", "arg.consent, 1e15, nil"),
    "dispatch-stopped-by-an-old-withdrawal": one(
        "dispatch", "arg.consent, verification.ledger, nil", "arg.consent, -1, nil"
    ),
    "mirror-an-older-state": one("mirror_write", "if tonumber(arg.read_at) >= known then", "if true then"),
    "mirror-over-what-was-there": one("mirror_write", "    redis.call('DEL', mirrored)\n"),
    "mirror-nothing-for-ever": one(
        "mirror_write", "    if ends then redis.call('PEXPIREAT', mirrored, ends + tonumber(arg.grace)) end\n"
    ),
    "mirror-everything-for-a-day": one("mirror_write", "ends and last and math.max(ends, last)", "ends"),
    "mirror-until-the-first-end": one("mirror_write", "math.max(ends, last)", "last"),
    "mirror-for-a-day-after-now": one("mirror_write", "math.max(ends, last)", "ends"),
    "mirror-into-another-ledgers-mirror": one("mirror_write", "head[1] == arg.identity and "),
    "mirror-into-another-history": one("mirror_write", " and head[2] == arg.after"),
    "readiness-of-one-bucket": one("starts_readiness", "key.rest, #KEYS, 2", "key.rest, key.rest"),
    "readiness-without-a-mirror": one("starts_readiness", "not closed and "),
    "mirror-in-a-part-of-the-buckets": one("mirror_write", "#current == tonumber(arg.heads)", "true"),
    "mirror-told-to-one-bucket": one("mirror_write", "ipairs(current)", "ipairs({ current[1] })"),
    "mirror-although-another-builds": one(
        "mirror_write", "    if redis.call('GET', KEYS[i]) ~= arg.builder then return 0 end\n", ""
    ),
    "mirror-never-goes-on": one("mirror_write", "'sequence', arg.sequence, ", ""),
}
