"""Defects of what an application may do: start, check, resend, cancel; and of the parts that these share."""

from mutant import Mutant, one

DEFECTS: dict[str, Mutant] = {
    "any-application": one("include_record", "if values[1] ~= application then", "if not values[1] then"),
    "number-kept-when-final": one("include_record", "  redis.call('HDEL', key, 'destination')\n"),
    "start-does-not-learn-the-outcome": one("include_record", "if start and redis", "if false and redis"),
    "start-key-comes-back-as-a-ghost": one("include_record", "redis.call('EXISTS', start) == 1", "true"),
    "mismatch-not-noticed": one("include_idempotency", "remembered[i + 1] == fingerprint", "true"),
    "nothing-recalled": one("include_idempotency", "if #remembered == 0 then", "do"),
    "retry-without-life": one("include_idempotency", "  redis.call('PEXPIRE', key, milliseconds)\n"),
    "start-spends-before-it-tests": Mutant(
        "start",
        (
            ("guard.count(sending)\n", ""),
            ("if refusal then\n", "guard.count(sending)\nif refusal then\n"),
        ),
    ),
    "start-spends-nothing": one("start", "guard.count(sending)\n"),
    "start-of-a-locked-number": one(
        "include_guard",
        "  guard.test_guesses(list, found.number, sending.trust)\n",
        "  if sending.kind ~= 'start' then guard.test_guesses(list, found.number, sending.trust) end\n",
    ),
    "start-over-the-limits": one("start", "if refusal then\n", "if false then\n"),
    "start-without-life": one("start", "redis.call('PEXPIREAT', KEYS[1], expires + tonumber(ARGV[4]))\n"),
    "start-without-grace": one("start", "expires + tonumber(ARGV[4]))", "expires)"),
    "start-into-a-full-backlog": one("start", "if full then", "if false then"),
    "start-queues-nothing": one(
        "start",
        "streams.queue_message(KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[7], ahead, about, ARGV[13], 1, 0, expires)\n",
    ),
    "start-reports-nothing": one(
        "start", "streams.report(KEYS[6], 'verification.started'", "local function never() end never(KEYS[6], ''"
    ),
    "start-unknown-to-its-record": one("start", "  redis.call('HSET', KEYS[1], 'start', KEYS[7])\n"),
    "start-forgotten-by-its-number": one(
        "include_guard", "if sending.kind == 'start' then number.started(", "if false then number.started("
    ),
    "start-remembered-without-bound": one("include_number", "if count > MOST_RECENT then", "if false then"),
    "start-remembered-for-a-day": one(
        "include_number", "own, life = self.entry, '', ruleset.ttls.number", "own, life = self.entry, '', 86400000"
    ),
    "start-shows-no-message": one("start", "deliveries.slot(1, 1), deliveries.new_slot(ARGV[13]), unpack", "unpack"),
    "check-of-a-final-one": one(
        "check", "if found.status ~= 'pending' then return answer(found.status, found.status) end\n"
    ),
    "check-of-an-approved-one": Mutant(
        "check",
        (
            ("if found.status == 'approved' then return answer('approved', 'already_approved') end\n", ""),
            (
                "if found.status ~= 'pending' then return",
                "if found.status ~= 'pending' and found.status ~= 'approved' then return",
            ),
        ),
    ),
    "check-expires-later": one(
        "check", "if now >= tonumber(found.expires) then\n", "if now > tonumber(found.expires) then\n"
    ),
    "check-never-expires": one("check", "if now >= tonumber(found.expires) then\n", "if false then\n"),
    "check-of-any-length": one("check", "if ARGV[3] ~= found.code_length then", "if false then"),
    "check-without-its-transaction": one(
        "check", "if found.kind == 'transaction' and ARGV[4] == '' then", "if false then"
    ),
    "check-with-a-needless-transaction": one(
        "check", "if found.kind ~= 'transaction' and ARGV[4] ~= '' then", "if false then"
    ),
    "check-of-a-changed-transaction": one("check", "if ARGV[4] ~= found.transaction then", "if false then"),
    "check-after-the-budget": one(
        "check",
        "if refusal and not refusal.records then return answer('pending', 'number_locked', 'check.refused', 'rule', "
        "refusal.rule) end\n",
    ),
    "check-spends-no-budget": one("include_number", "  self.wrong = limits.with_now('failed_checks', self.wrong)\n"),
    "check-spends-for-a-right-code": one(
        "check",
        "  number.approved(state, trust, device)\n",
        "  state.wrong = limits.with_now('failed_checks', state.wrong)\n  number.approved(state, trust, device)\n",
    ),
    "check-budget-of-a-verification": one(
        "check", "ARGV[8] .. found.pseudonym, KEYS[5]", "ARGV[8] .. found.id, KEYS[5]"
    ),
    "check-not-counted": one("check", "redis.call('HINCRBY', KEYS[1], 'checks', 1)", "checks + 1"),
    "check-counted-after-a-right-one": Mutant(
        "check",
        (
            ("checks = redis.call('HINCRBY', KEYS[1], 'checks', 1)", "checks = checks + 1"),
            (
                "number.guessed_wrong(state, trust)\n",
                "number.guessed_wrong(state, trust)\nredis.call('HINCRBY', KEYS[1], 'checks', 1)\n",
            ),
        ),
    ),
    "check-one-guess-more": one("check", "if checks < max_checks then", "if checks <= max_checks then"),
    "check-one-guess-less": one("check", "if checks < max_checks then", "if checks < max_checks - 1 then"),
    "check-accepts-anything": one("check", "local right = ARGV[2] == found.tag", "local right = true"),
    "check-consumes-nothing": one("check", "  record.finish(KEYS[1], found.start, 'approved')\n"),
    "check-forgets-the-last-guess": one("check", "record.finish(KEYS[1], found.start, 'max_attempts_reached')\n"),
    "check-forgets-a-changed-transaction": one("check", "  record.finish(KEYS[1], found.start, 'failed')\n"),
    "check-keeps-an-expired-number": one("check", "  record.finish(KEYS[1], found.start, 'expired')\n"),
    "check-remembers-nothing": one(
        "check", "  idempotency.remember_with(KEYS[1], KEYS[3], ARGV[5], 'reason', reason, 'checks_left', left)\n"
    ),
    "check-again-tells-an-old-status": one("check", "over and 'expired' or found.status", "found.status"),
    "resend-at-once": one("resend", "if wait > 0 and ARGV[11] == '0' then", "if false then"),
    "resend-once-more": one(
        "resend", "if sends >= tonumber(found.max_sends) then", "if sends > tonumber(found.max_sends) then"
    ),
    "resend-of-a-final-one": one("resend", "if found.status ~= 'pending' then return { 'final', found.status } end\n"),
    "resend-of-an-expired-one": one("resend", "if now >= tonumber(found.expires) then", "if false then"),
    "resend-expires-later": one(
        "resend", "if now >= tonumber(found.expires) then", "if now > tonumber(found.expires) then"
    ),
    "resend-last-delay-does-not-repeat": one(
        "resend", "if place_of_delay <= sends then", "if place_of_delay == sends then"
    ),
    "resend-overtaken": one("resend", "if found.generation ~= ARGV[4] or (", "if ("),
    "resend-falls-back-twice": one("resend", " or (ARGV[11] ~= '0' and ARGV[11] ~= found.sends)"),
    "resend-waits-to-fall-back": one("resend", "if wait > 0 and ARGV[11] == '0' then", "if wait > 0 then"),
    "resend-shows-the-old-channel": one("resend", "'last_send', now, 'channel', ARGV[3],", "'last_send', now,"),
    "resend-to-a-locked-number": one(
        "include_guard",
        "  guard.test_guesses(list, found.number, sending.trust)\n",
        "  if sending.kind == 'start' then guard.test_guesses(list, found.number, sending.trust) end\n",
    ),
    "resend-spends-nothing": one("resend", "guard.count(sending)\n"),
    "resend-keeps-the-old-tag": one("resend", "'generation', generation, 'tag', ARGV[5])", "'generation', generation)"),
    "resend-keeps-the-old-time": one("resend", "'last_send', now, 'channel'", "'channel'"),
    "resend-renews-the-life": one(
        "resend", "sends = sends + 1\n", "sends = sends + 1\nredis.call('PEXPIRE', KEYS[1], 900000)\n"
    ),
    "resend-renews-the-guesses": one(
        "resend", "sends = sends + 1\n", "sends = sends + 1\nredis.call('HSET', KEYS[1], 'checks', 0)\n"
    ),
    "resend-into-a-full-backlog": one("resend", "if full then", "if false then"),
    "resend-into-a-backlog-that-outlives-it": one("resend", "ARGV[6], found.expires - now)", "ARGV[6], 300000)"),
    "resend-remembers-nothing": one("resend", "idempotency.remember_with(KEYS[1], KEYS[7], ARGV[2])\n"),
    "resend-falls-back-from-what-arrived": one(
        "resend", "if ARGV[11] ~= '0' and deliveries.tally", "if false and deliveries.tally"
    ),
    "resend-queues-nothing": one("resend", "streams.queue_message(KEYS[2]", "local function never() end never(KEYS[2]"),
    "resend-reports-nothing": one("resend", "streams.report(KEYS[6]", "local function never() end never(KEYS[6]"),
    "resend-shows-no-message": one(
        "resend", "sending.counted,\n  deliveries.slot(sends, 1), deliveries.new_slot(ARGV[3]))", "sending.counted)"
    ),
    "cancel-of-a-final-one": one(
        "cancel", "  if found.status ~= 'pending' then return { 'final', found.status } end\n"
    ),
    "cancel-of-an-expired-one": one(
        "cancel", "  if now >= tonumber(found.expires) then return { 'final', 'expired' } end\n"
    ),
    "cancel-does-nothing": one("cancel", "  record.finish(KEYS[1], found.start, 'canceled')\n"),
}
