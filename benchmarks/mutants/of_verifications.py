"""Defects of what an application may do: start, check, resend, cancel; and of the parts that these share."""

from mutant import Mutant, one

TESTS = (
    "services/test_lifecycle.py",
    "services/test_pages.py",
    "services/test_pending.py",
    "api/test_proofs.py",
    "store/test_guard_trust.py",
    "store/test_attempts.py",
    "store/test_history.py",
    "store/test_keys.py",
    "store/test_privacy.py",
    "store/test_stored_formats.py",
    "model/test_verification_model.py",
)
"""Where most of them are noticed."""
DEFECTS: dict[str, Mutant] = {
    "page-result-used-twice": one("page_redeem", "'result', now) == 0", "'result', now) == 2"),
    "page-result-of-another-application": one(
        "page_redeem", "record.read(key.record, arg.application)", "record.read(key.record)"
    ),
    "page-result-that-never-ends": one("page_redeem", " or now >= tonumber(arg.ends)"),
    "page-result-of-what-waits": one("page_redeem", "if status == 'pending' then return reply.not_redeemable() end\n"),
    "page-result-of-what-expired-unnoticed": one(
        "page_redeem", "= record.status(verification)", "= verification.status"
    ),
    "page-requests-never-refused": one(
        "page_count", "if count <= tonumber(arg.max_requests) then return 0 end", "do return 0 end"
    ),
    "page-requests-one-too-many": one("page_count", "count <= tonumber", "count <= 1 + tonumber"),
    "page-requests-kept-for-ever": one("page_count", "if count == 1 then", "if false then"),
    "page-requests-whose-minute-begins-anew": one("page_count", "if count == 1 then", "do"),
    "page-requests-free-in-the-last-moment": one(
        "page_count", "math.max(1, redis.call('PTTL', key.requests))", "redis.call('PTTL', key.requests)"
    ),
    "proof-used-twice": one("proof_redeem", "'redeemed', now) == 0", "'redeemed', now) == 2"),
    "proof-of-another-application": one(
        "proof_redeem",
        "read(key.evidence, arg.application,",
        "read(key.evidence, redis.call('HGET', key.evidence, 'application'),",
    ),
    "proof-of-what-is-gone": one("proof_redeem", "if not approval then return reply.not_redeemable() end\n"),
    "start-beside-a-pending-one": one("start", "if arg.allowed_pending ~= '*' then", "if false then"),
    "start-beside-nothing": one("start", "if arg.allowed_pending ~= '*' then", "if true then"),
    "start-beside-no-other-payment": one("start", "last.id ~= arg.allowed_pending and "),
    "start-sends-what-has-ended-again": one("start", "last.status == 'pending' and "),
    "start-sends-what-has-expired-again": one(
        "start", " and now < last.expires then return reply.pending", " then return reply.pending"
    ),
    "start-sends-what-another-purpose-has": one(
        "include_record", "verification and verification.purpose == purpose", "verification"
    ),
    "found-of-another-application": one(
        "include_record", "record.read(beginning .. id, application)", "record.read(beginning .. id)"
    ),
    "found-until-it-was-sent-again": one("include_record", "'(%S+) %d+%+*\\n'", "'(%S+) %d+\\n'"),
    "found-by-another-clock": one("verification_find", "now = now", "now = now - 600000"),
    "found-without-its-name": one("verification_find", "id = verification.id", "id = ''"),
    "found-of-whatever-purpose": one(
        "verification_find", "arg.application, arg.purpose)\n", "arg.application, 'login')\n"
    ),
    "any-application": one(
        "include_record", "if application and self.application ~= application then return nil end\n"
    ),
    "record-of-another-form-read": one("include_record", "if form ~= FORM then", "if false then"),
    "tag-of-a-few-bits": one("include_record", "local TAG_LENGTH = 21", "local TAG_LENGTH = 2"),
    "number-kept-when-final": one(
        "include_record", "self.status, self.sealed_number = status, ''", "self.status = status"
    ),
    "start-does-not-learn-the-outcome": one("include_record", "if self.start ~= '' and redis", "if false and redis"),
    "start-key-comes-back-as-a-ghost": one("include_record", "redis.call('EXISTS', self.start) == 1", "true"),
    "mismatch-not-noticed": one("include_idempotency", "remembered[i + 1] == fingerprint", "true"),
    "nothing-recalled": one("include_idempotency", "if #remembered == 0 then", "do"),
    "retry-without-life": one("include_idempotency", "  redis.call('PEXPIRE', key, milliseconds)\n"),
    "start-spends-before-it-tests": Mutant(
        "start",
        (
            ("guard.count(attempt)\n", ""),
            ("if refusal then\n", "guard.count(attempt)\nif refusal then\n"),
        ),
    ),
    "start-spends-nothing": one("start", "guard.count(attempt)\n"),
    "start-of-a-locked-number": one(
        "include_guard",
        "  guard.test_guesses(list, states.number, attempt.trust)\n",
        "  if attempt.kind ~= 'start' then guard.test_guesses(list, states.number, attempt.trust) end\n",
    ),
    "start-over-the-limits": one("start", "if refusal then\n", "if false then\n"),
    "start-without-life": one("include_record", "  redis.call('PEXPIREAT', self.key, ends)\n"),
    "start-without-grace": one("start", "verification.expires + plan.grace,", "verification.expires,"),
    "start-into-a-full-backlog": one("start", "if full then", "if false then"),
    "start-queues-nothing": one("start", "streams.put(key.queue", "local function never() end never(key.queue"),
    "start-reports-nothing": one(
        "start", "streams.add(key.events, plan", "local function never() end never(key.events, plan"
    ),
    "start-unknown-to-its-record": one("start", "  verification.start = key.idempotency\n"),
    "start-forgotten-by-its-number": one(
        "include_guard", "if attempt.kind == 'start' then number.started(", "if false then number.started("
    ),
    "start-remembered-without-bound": one("include_number", "if count > MAX_RECENT then", "if false then"),
    "start-remembered-for-a-day": one(
        "include_number", "own, life = self.entry, '', ruleset.ttls.number", "own, life = self.entry, '', 86400000"
    ),
    "start-shows-no-message": one("start", ", 'd1.1', plan.channel .. '||queued|||')", ")"),
    "check-of-any-number": one("check", "arg.pseudonym ~= verification.pseudonym", "false"),
    "check-of-a-final-one": one(
        "check",
        "if verification.status ~= 'pending' then return answer(verification.status, verification.status) end\n",
    ),
    "check-of-an-approved-one": Mutant(
        "check",
        (
            ("if verification.status == 'approved' then return answer('approved', 'already_approved') end\n", ""),
            (
                "if verification.status ~= 'pending' then return",
                "if verification.status ~= 'pending' and verification.status ~= 'approved' then return",
            ),
        ),
    ),
    "check-expires-later": one(
        "check", "if now >= verification.expires then\n", "if now > verification.expires then\n"
    ),
    "check-never-expires": one("check", "if now >= verification.expires then\n", "if false then\n"),
    "check-of-any-length": one("check", "if arg.code_length ~= verification.code_length then", "if false then"),
    "check-without-its-transaction": one(
        "check", "if verification.transaction ~= '' and arg.transaction == '' then", "if false then"
    ),
    "check-with-a-needless-transaction": one(
        "check", "if verification.transaction == '' and arg.transaction ~= '' then", "if false then"
    ),
    "check-of-a-changed-transaction": one(
        "check", "if arg.transaction ~= verification.transaction then", "if false then"
    ),
    "check-after-the-budget": one(
        "check",
        "if is_locked then return answer('pending', 'number_locked', 'check.refused', { rule = refusal.rule }) end\n",
    ),
    "check-spends-no-budget": one("include_number", "  self.wrong = limits.with_now('failed_checks', self.wrong)\n"),
    "check-spends-for-a-right-code": one(
        "check",
        "  number.approved(state, trust, device)\n",
        "  state.wrong = limits.with_now('failed_checks', state.wrong)\n  number.approved(state, trust, device)\n",
    ),
    "check-budget-of-a-verification": one(
        "check",
        "arg.numbers .. verification.pseudonym, key.application",
        "arg.numbers .. verification.id, key.application",
    ),
    "check-not-counted": one("check", "verification.checks = verification.checks + 1\n"),
    "check-counted-after-a-right-one": Mutant(
        "check",
        (
            ("verification.checks = verification.checks + 1\n", ""),
            (
                "number.guessed_wrong(state, trust)\n",
                "number.guessed_wrong(state, trust)\nverification.checks = verification.checks + 1\n",
            ),
        ),
    ),
    "check-one-guess-more": one(
        "check", "if verification.checks < max_checks then", "if verification.checks <= max_checks then"
    ),
    "check-one-guess-less": one(
        "check", "if verification.checks < max_checks then", "if verification.checks < max_checks - 1 then"
    ),
    "check-accepts-anything": one(
        "check", "local right = verification.tag == record.stored_tag(arg.tag)", "local right = true"
    ),
    "check-consumes-nothing": one("check", "  record.finish(verification, 'approved')\n"),
    "check-forgets-the-last-guess": one("check", "record.finish(verification, 'max_attempts_reached')\n"),
    "check-forgets-a-changed-transaction": one("check", "  record.finish(verification, 'failed')\n"),
    "check-keeps-an-expired-number": one("check", "  record.finish(verification, 'expired')\n"),
    "check-remembers-nothing": one(
        "check",
        "idempotency.remember_with(key.record, key.idempotency, arg.fingerprint, 'reason'",
        "local function never() end never('reason'",
    ),
    "check-again-approves-anew": one(
        "check", "at = tonumber(first[3]), alarm = 0, record = approved", "at = now, alarm = 0, record = approved"
    ),
    "check-approves-nobody-knows-when": one("check", ", 'at', now)", ")"),
    "check-approves-when-it-was-started": one("check", "left, at = now", "left, at = verification.created"),
    "check-again-tells-an-old-status": one(
        "check", "status = record.status(verification)", "status = verification.status"
    ),
    "resend-at-once": one("resend", "if wait > 0 and falls_back_from == 0 then", "if false then"),
    "resend-once-more": one(
        "resend",
        "if sends >= tonumber(verification.max_sends) then",
        "if sends > tonumber(verification.max_sends) then",
    ),
    "resend-of-a-final-one": one(
        "resend",
        "if status ~= 'pending' then return reply.already_final { status = status } end\n",
    ),
    "resend-of-an-expired-one": one("resend", "= record.status(verification)", "= verification.status"),
    "expires-later": one("include_record", "now >= self.expires", "now > self.expires"),
    "resend-last-delay-does-not-repeat": one(
        "resend", "if place_of_delay <= sends then", "if place_of_delay == sends then"
    ),
    "resend-overtaken": one("resend", "if verification.generation ~= tonumber(arg.generation) or (", "if ("),
    "resend-falls-back-twice": one("resend", " or (falls_back_from > 0 and falls_back_from ~= sends)"),
    "resend-waits-to-fall-back": one("resend", "if wait > 0 and falls_back_from == 0 then", "if wait > 0 then"),
    "resend-shows-the-old-channel": one(
        "resend",
        "verification.sends, verification.last_send, verification.channel = sends, now, arg.channel",
        "verification.sends, verification.last_send = sends, now",
    ),
    "resend-to-a-locked-number": one(
        "include_guard",
        "  guard.test_guesses(list, states.number, attempt.trust)\n",
        "  if attempt.kind == 'start' then guard.test_guesses(list, states.number, attempt.trust) end\n",
    ),
    "resend-spends-nothing": one("resend", "guard.count(attempt)\n"),
    "resend-keeps-the-old-tag": one(
        "resend",
        "verification.generation, verification.tag = verification.generation + 1, record.stored_tag(arg.next_tag)",
        "verification.generation = verification.generation + 1",
    ),
    "resend-keeps-the-old-time": one(
        "resend",
        "verification.sends, verification.last_send, verification.channel = sends, now, arg.channel",
        "verification.sends, verification.channel = sends, arg.channel",
    ),
    "resend-renews-the-life": one(
        "resend", "sends = sends + 1\n", "sends = sends + 1\nredis.call('PEXPIRE', key.record, 900000)\n"
    ),
    "resend-renews-the-guesses": one(
        "resend", "sends = sends + 1\n", "sends = sends + 1\nredis.call('HSET', key.record, 'checks', 0)\n"
    ),
    "resend-into-a-full-backlog": one("resend", "if full then", "if false then"),
    "resend-into-a-backlog-that-outlives-it": one(
        "resend", "tonumber(arg.max_queue), verification.expires - now)", "tonumber(arg.max_queue), 300000)"
    ),
    "resend-remembers-nothing": one(
        "resend", "idempotency.remember_with(key.record, key.idempotency, arg.fingerprint)\n"
    ),
    "resend-falls-back-from-what-arrived": one(
        "resend", "if falls_back_from > 0 and deliveries.tally", "if false and deliveries.tally"
    ),
    "resend-queues-nothing": one("resend", "streams.put(key.queue", "local function never() end never(key.queue"),
    "resend-reports-nothing": one("resend", "streams.report(key.events", "local function never() end never(key.events"),
    "resend-shows-no-message": one(
        "resend",
        "redis.call('HSET', key.record, deliveries.slot(sends, 1),",
        "local _ = (",
    ),
    "cancel-of-a-final-one": one(
        "cancel",
        "  if status ~= 'pending' then return reply.already_final { status = status } end\n",
    ),
    "cancel-of-an-expired-one": one("cancel", "= record.status(verification)", "= verification.status"),
    "cancel-does-nothing": one("cancel", "  record.finish(verification, 'canceled')\n"),
}
