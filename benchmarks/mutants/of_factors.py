"""Defects of authenticator apps and recovery codes: enrolment, checks, budgets, and what a restart may forget."""

from mutant import Mutant, one

TESTS = ("api/test_factors.py", "api/test_factor_policy.py", "services/test_factors.py")
"""Where most of them are noticed."""
_ENROLMENTS: dict[str, Mutant] = {
    "factor-enrolled-anew": one("factor_enrol", "if remembered then return", "if false then return"),
    "factor-enrolled-by-another-request": one(
        "factor_enrol", "if remembered == 'mismatch' then return reply.mismatch() end\n"
    ),
    "factor-enrolled-remembers-nothing": one("factor_enrol", "if arg.fingerprint ~= '' then", "if false then"),
    "factor-enrolled-remembers-until-the-first-code": one(
        "factor_enrol", "arg.fingerprint, arg.remembered", "arg.fingerprint, arg.life"
    ),
    "factor-enrolled-however-many-wait": one(
        "factor_enrol", "if redis.call('ZCARD', enrolments) >= tonumber(waiting.max)", "if false"
    ),
    "factor-enrolled-one-too-many": one("factor_enrol", ") >= tonumber", ") > tonumber"),
    "factor-enrolled-though-nobody-waits-any-more": one(
        "factor_enrol", "  redis.call('ZREMRANGEBYSCORE', enrolments, '-inf', now)\n"
    ),
    "factor-enrolled-before-the-clock-was-set-back": one(
        "factor_enrol",
        "  redis.call('ZREMRANGEBYSCORE', enrolments, '(' .. ends, '+inf') -- of a clock that ran ahead\n",
    ),
    "factor-enrolled-waits-for-nobody": one("factor_enrol", "  redis.call('ZADD', enrolments, ends, arg.factor)\n"),
    "factor-enrolled-counts-for-ever": one("factor_enrol", "  redis.call('PEXPIRE', enrolments, arg.life)\n"),
    "factor-enrolled-for-ever": one("factor_enrol", "redis.call('PEXPIRE', key.enrolment, arg.life)\n"),
    "factor-active-as-enrolled": one(
        "factor_read", "redis.call('HGET', key.mirrored, 't:' .. arg.factor)", "pending[1]"
    ),
    "factor-by-another-clock": one("factor_read", "now = now", "now = now - 60000"),
}
_CODES: dict[str, Mutant] = {
    "factor-removed-meanwhile": one(
        "factor_check", "if application ~= arg.application then return reply.not_found() end\n"
    ),
    "factor-check-although-behind": one(
        "factor_check", "if closed == 'mirror-behind' then return reply.mirror_behind() end\n"
    ),
    "factor-check-while-settling": one(
        "factor_check", "if closed == 'settling' then return reply.settling { wait = wait } end\n"
    ),
    "factor-check-settles-for-no-time": one("factor_check", "tonumber(place or 0), life)", "tonumber(place or 0), 0)"),
    "factor-check-settles-whatever-its-place": one("factor_check", "tonumber(place or 0), life)", "0, life)"),
    "factor-check-of-a-frozen-user": one("factor_check", "if closed == 'frozen' then return reply.frozen() end\n"),
    "factor-check-over-the-budget": one("factor_check", "if refusal then", "if false then"),
    "factor-check-refused-without-its-rule": one("factor_check", "{ rule = refusal.rule }", "nil"),
    "factor-check-reports-nothing": one("factor_check", "  streams.report(key.events, event, factor, values)\n"),
    "factor-check-without-its-reason": one("factor_check", "  values.reason = reason\n"),
    "factor-check-without-its-purpose": one("factor_check", "purpose = arg.purpose", "purpose = ''"),
    "factor-check-remembers-nothing": one("factor_check", "if arg.fingerprint ~= '' then", "if false then"),
    "factor-check-remembers-for-a-moment": one(
        "factor_check", "arg.fingerprint, arg.remembered", "arg.fingerprint, 1000"
    ),
    "factor-check-again-by-another-request": one(
        "factor_check", "if remembered == 'mismatch' then return reply.mismatch() end\n"
    ),
    "factor-check-again-is-right": one("factor_check", "or first[1], at", "or '', at"),
    "factor-check-again-approves-anew": one("factor_check", "at = tonumber(first[2])", "at = now"),
    "factor-steps-of-half-a-minute": one("factor_check", "(1000 * period)", "30000"),
    "factor-code-that-activated": one(
        "factor_check",
        "math.max(recorded, redis.call('GET', key.step) or 0)",
        "tonumber(redis.call('GET', key.step) or 0)",
    ),
    "factor-code-that-was-taken": one(
        "factor_check", "math.max(recorded, redis.call('GET', key.step) or 0)", "tonumber(recorded)"
    ),
    "factor-code-of-the-last-step": one("factor_check", "step <= last", "step < last"),
    "factor-code-a-step-too-late": one("factor_check", "present - arg.late", "present - arg.late - 1"),
    "factor-code-that-is-never-late": one("factor_check", "step >= present", "step > present"),
    "factor-code-a-step-too-early": one("factor_check", "present + arg.early", "present + arg.early + 1"),
    "factor-code-that-is-never-early": one("factor_check", "step <= present", "step < present"),
    "factor-code-of-the-newest-step": one("factor_check", "taken = taken or step", "taken = step"),
    "factor-code-of-two-steps-is-used": one("factor_check", "if taken then\n", "if taken and not used then\n"),
    "factor-code-is-not-spent": one("factor_check", "  redis.call('SET', key.step, taken, 'PX', life + arg.grace)\n"),
    "factor-code-spent-while-it-lives": one("factor_check", "life + arg.grace", "life"),
    "factor-code-spent-for-ever": one("factor_check", ", 'PX', life + arg.grace)", ")"),
    "factor-code-makes-nobody-known": one("factor_check", "  number.approved(state, trust, arg.device)\n"),
    "factor-code-makes-no-device-known": one(
        "factor_check", "approved(state, trust, arg.device)", "approved(state, trust, '')"
    ),
    "factor-code-is-not-written": one("factor_check", "  number.write(state)\n"),
    "factor-code-proves-nothing": one("factor_check", "needed, arg.evidence_life)", "needed, 0)"),
    "factor-code-without-its-step": one("factor_check", ", { step = taken }, 'basis'", ", nil, 'basis'"),
    "factor-code-used-is-a-guess": one(
        "factor_check", "if used then return answer('code_used', 'factor.code_used') end\n"
    ),
    "factor-guess-is-not-counted": one(
        "factor_check", "local locks = number.guessed_wrong(state, trust)", "local locks"
    ),
    "factor-guess-is-not-written": one("factor_check", "trust)\nnumber.write(state)\n", "trust)\n"),
    "factor-guess-locks-in-silence": one(
        "factor_check", "locks and 'factor.locked' or 'factor.failed'", "'factor.failed'"
    ),
    "factor-guess-never-locks": one("include_number", "  return true\n"),
}
_GUESSES: dict[str, Mutant] = {
    "user-guess-although-behind": one(
        "user_guess", "if closed == 'mirror-behind' then return reply.mirror_behind() end\n"
    ),
    "user-guess-of-a-frozen-user": one("user_guess", "if closed == 'frozen' then return reply.frozen() end\n"),
    "user-guess-settles": one("user_guess", "arg.min_sequence, 0, 0)", "arg.min_sequence, 0, 90000)"),
    "user-guess-over-the-budget": one("user_guess", "if refusal and", "if false and"),
    "user-guess-that-was-right-is-refused": one("user_guess", " and arg.result ~= 'right' then return", " then return"),
    "user-guess-first-code-over-the-budget": one(
        "user_guess", "~= 'right' then return", "~= 'right' and arg.result ~= 'first' then return"
    ),
    "user-guess-again-by-another-request": one(
        "user_guess", "if remembered == 'mismatch' then return reply.mismatch() end\n"
    ),
    "user-guess-again-is-right": one(
        "user_guess", "revoked and 'revoked' or first.reason, at", "revoked and 'revoked' or '', at"
    ),
    "user-guess-again-approves-anew": one("user_guess", "at = tonumber(first.at)", "at = now"),
    "user-guess-again-of-another-series": one("user_guess", "first.seed or arg.seed", "arg.seed"),
    "user-guess-remembers-nothing": one(
        "user_guess", "if arg.fingerprint == '' then return end", "if true then return end"
    ),
    "user-guess-remembers-for-a-moment": one(
        "user_guess", "arg.fingerprint, arg.remembered, 'at'", "arg.fingerprint, 1000, 'at'"
    ),
    "user-guess-remembers-nothing-before-the-ledger": one(
        "user_guess", "  remember(factors.basis(arg.application, key.mirrored, nil, needed))\n"
    ),
    "user-guess-of-an-app-that-waits-no-more": one(
        "user_guess", "if arg.result == 'repeated' then return reply.not_found() end\n"
    ),
    "user-guess-activates-what-is-gone": one(
        "user_guess", "if not enrolled or mirror.revoked", "if enrolled and mirror.revoked"
    ),
    "user-guess-activates-after-a-freeze": one(
        "user_guess",
        "mirror.revoked({ application = arg.application, lifted = enrolled }, mirror.basis(key.mirrored))",
        "false",
    ),
    "user-guess-activates-twice-by-one-code": one(
        "user_guess", "  redis.call('HSET', key.enrolment, 'step', arg.step)\n"
    ),
    "user-guess-activates-by-the-same-step": one("user_guess", "arg.step) <= ton", "arg.step) < ton"),
    "user-guess-reserves-nothing": one("user_guess", "  evidence.reserve(needed, seed)\n"),
    "user-guess-keeps-what-it-reserved": one("user_guess", "  if reason ~= '' then evidence.release(needed) end\n"),
    "user-guess-refused-without-its-rule": one("user_guess", ", rule = rule }", " }"),
    "user-guess-without-its-reason": one("user_guess", "{ reason = reason, rule", "{ rule"),
    "user-guess-of-whom-nobody-knows": one("user_guess", "id = arg.id", "id = ''"),
    "user-guess-is-told-when-it-is-asked-for": one("user_guess", "if event ~= '' then streams", "if true then streams"),
    "user-guess-is-not-counted": one(
        "user_guess", "arg.result == 'wrong_code' and number.guessed_wrong(state, trust)", "false"
    ),
    "user-guess-by-a-used-code": one("user_guess", "arg.result == 'wrong_code' and number", "number"),
    "user-guess-is-not-written": one("user_guess", "(state, trust)\nnumber.write(state)\n", "(state, trust)\n"),
    "user-guess-locks-in-silence": one("user_guess", "locks and 'factor.locked' or arg.event", "arg.event"),
    "user-guess-that-was-right-makes-nobody-known": one("user_guess", "  number.approved(state, trust, arg.device)\n"),
    "user-guess-that-was-right-makes-no-device-known": one(
        "user_guess", "approved(state, trust, arg.device)", "approved(state, trust, '')"
    ),
    "user-guess-that-was-right-proves-nothing": one("user_guess", "needed, arg.evidence_life)", "needed, 0)"),
}
_BUDGETS: dict[str, Mutant] = {
    "factor-budget-as-if-all-were-known": one(
        "include_factors", "reputation.known_device and 'known' or 'unknown'", "'known'"
    ),
    "factor-budget-as-if-nobody-were-known": one(
        "include_factors", "reputation.known_device and 'known' or 'unknown'", "'unknown'"
    ),
    "factor-budget-of-nobody": one(
        "include_factors",
        "  guard.test_moving(hits, 'failed_checks', state.wrong, trust == 'unknown' and reputation.own_device)\n",
    ),
    "factor-budget-that-strangers-use-up": one(
        "include_factors", "trust == 'unknown' and reputation.own_device", "false"
    ),
    "factor-budget-that-known-devices-share": one(
        "include_factors", "trust == 'unknown' and reputation.own_device", "reputation.own_device"
    ),
    "factor-budget-without-waits": one("include_factors", "  guard.test_guesses(hits, state, trust)\n"),
    "factor-budget-that-only-records-refuses": one(
        "include_factors", "first and not first.records and first or nil", "first"
    ),
    "factor-budget-that-refuses-only-records": one(
        "include_factors", "first and not first.records and first or nil", "nil"
    ),
    "factor-approval-for-a-moment": one("include_factors", "last, tonumber(life))", "last, 1000)"),
    "factor-approval-of-any-code": one("include_factors", "name .. '.' .. now", "name"),
    "factor-approval-that-rests-on-no-factor": one(
        "include_factors", "mirror.basis(user, factor)", "mirror.basis(user)"
    ),
    "factor-approval-that-knows-no-lift": one(
        "include_factors",
        "local _, last = mirror.revoked({ application = application, lifted = math.huge }, basis)",
        "local last = 0",
    ),
    "factor-approval-forgets-what-came-before": one("include_factors", "basis .. needed.basis", "basis"),
    "factor-approval-knows-no-lift-of-before": one("include_factors", "math.max(last, needed.lifted)", "last"),
    "factor-approval-uses-nothing-up": one("include_factors", "  evidence.use(needed, now)\n"),
}
_SETTLING: dict[str, Mutant] = {
    "factor-of-the-mirror-settles-not": one("include_factors", "place > of", "place >= of"),
    "factor-of-later-settles": one("include_factors", "  if place > of then since = 0 end\n"),
    "factor-settles-after-no-fence": one(
        "include_factors", "  if fence.at then since = math.max(since, fence.at) end\n"
    ),
    "factor-settles-after-a-fence-alone": one("include_factors", "math.max(since, fence.at)", "fence.at"),
    "factor-settles-after-a-fence-of-before-it-alone": Mutant(
        "include_factors",
        (
            ("  if place > of then since = 0 end\n", ""),
            (
                "  if fence.at then since = math.max(since, fence.at) end\n",
                "  if fence.at then since = math.max(since, fence.at) end\n  if place > of then since = 0 end\n",
            ),
        ),
    ),
    "factor-settles-for-a-moment-longer": one("include_factors", "since + life > now", "since + life >= now"),
    "factor-settles-for-guesses-too": one("include_factors", "if life > 0 and since", "if since"),
    "factor-frozen-by-what-was-lifted": one(
        "include_factors", "lifted = math.huge }, mirror.basis(user))", "lifted = 0 }, mirror.basis(user))"
    ),
    "server-that-may-be-restarted": one("include_mirror", "return run .. member(", "return member("),
    "server-that-may-take-over-again": one(
        "include_mirror", "return run .. member('replication', 'master_replid2')", "return run"
    ),
    "server-that-nobody-notes": one(
        "include_mirror",
        "  redis.call('HSET', head, 'server', mirror.server_name(), 'since', now, 'since_of', EVERYTHING)\n",
    ),
    "server-that-was-always-there": one("include_mirror", "  return now, tonumber(EVERYTHING)\n", "  return 0, 0\n"),
    "server-that-is-always-the-same": one(
        "include_mirror", "if stored[1] == mirror.server_name() then", "if stored[1] then"
    ),
    "server-whose-past-ends-with-the-mirror": one(
        "include_mirror", "'since_of', EVERYTHING", "'since_of', redis.call('HGET', head, 'sequence')"
    ),
    "server-noted-by-a-check-alone": one("server_note", "  mirror.server_since(KEYS[i])\n"),
    "server-unknown-to-a-new-mirror": one("mirror_build", "    'server', mirror.server_name(), 'since'", "    'since'"),
    "server-older-than-its-mirror": one("mirror_build", "'since', now", "'since', 0"),
    "server-of-a-mirror-of-nothing": one("mirror_build", "'since_of', arg.sequence", "'since_of', 0"),
}
DEFECTS: dict[str, Mutant] = {**_ENROLMENTS, **_CODES, **_GUESSES, **_BUDGETS, **_SETTLING}
