"""Defects of evidence: what revokes it, what it rests on, and that it is used once."""

from mutant import Mutant, one

TESTS = ("api/test_evidence.py", "api/test_factor_policy.py", "api/test_proofs.py")
"""Where most of them are noticed."""
_KEPT: dict[str, Mutant] = {
    "evidence-for-ever": one("include_evidence", "  redis.call('PEXPIRE', key, life)\n"),
    "evidence-without-its-fence": one("include_evidence", "'fence', fence.at or 0", "'fence', 0"),
    "evidence-of-before-a-fence": one("include_evidence", " or fence.hides(tonumber(stored[4]))"),
    "evidence-too-old": one("include_evidence", "  if ends ~= '' and now >= tonumber(ends) then return nil end\n"),
    "evidence-a-moment-too-old": one("include_evidence", "now >= tonumber(ends)", "now > tonumber(ends)"),
    "evidence-although-revoked": one("include_evidence", "not self or revoked or", "not self or"),
    "evidence-used-twice": one(
        "include_evidence", "if not self.started or self.started == by then return self end", "return self"
    ),
    "evidence-reserved-for-all": one("include_evidence", " or (self.reserved and self.reserved ~= by)"),
    "evidence-reserved-for-nobody": one("include_evidence", "(self.reserved and self.reserved ~= by)", "self.reserved"),
    "evidence-reserved-for-ever": one("include_evidence", "now < tonumber(stored[7] or 0) and stored[6]", "stored[6]"),
    "evidence-not-used-up": one(
        "include_evidence", "  if self.key then redis.call('HSET', self.key, 'started', by) end\n"
    ),
}
_REVOKED: dict[str, Mutant] = {
    "erasure-revives": one("include_mirror", "  if erased > known then return 'erased' end\n"),
    "erasure-ends-what-knows-of-it": one("include_mirror", "erased > known", "erased >= known"),
    "revoked-although-nothing-is": one(
        "include_mirror", "      if why then return why end\n      if factor", "      if factor"
    ),
    "revoked-without-the-factor": one(
        "include_mirror", "      if factor ~= '' and not stored['t:' .. factor] then return 'removed' end\n"
    ),
    "revoked-by-a-lift-of-before": one("include_mirror", "      last = math.max(last, at)\n"),
    "message-of-what-was-revoked": one(
        "include_mirror", "mirror.revoked(verification, verification.basis, elsewhere)\n", "nil, 0\n"
    ),
    "message-as-if-it-was-frozen": one(
        "include_mirror", "(over == 'frozen' or revoked == 'frozen') and 'frozen' or 'canceled'", "'frozen'"
    ),
    "start-knows-no-lift-of-its-user": one("include_mirror", "  last = math.max(last, last_of_others)\n"),
    "resend-of-what-was-revoked": one(
        "resend", "if why == 'canceled' then return reply.already_final { status = why } end\n"
    ),
}
_STARTS: dict[str, Mutant] = {
    "start-without-evidence": one(
        "start", "if not earlier then return reply.step_up() end\n", "earlier = earlier or { basis = '', lifted = 0 }\n"
    ),
    "start-without-evidence-while-the-mirror-is-behind": one(
        "start", "if why == 'mirror-behind' then return reply.withheld { reason = why } end\n"
    ),
    "start-for-a-frozen-user": one("start", "if user then verification.basis = mirror.basis(user.key) end"),
    "start-uses-nothing-up": one("start", "evidence.use(earlier, verification.id)\n"),
    "start-forgets-what-came-before": one("start", "if earlier.basis ~= '' then", "if false then"),
    "start-knows-no-lift-of-before": one("start", "math.max(lifted, earlier.lifted)", "lifted"),
    "start-that-a-user-s-freeze-does-not-find": one("include_record", "  redis.call('LPUSH', key, id)\n"),
    "start-that-a-user-s-freeze-finds-for-ever": one("include_record", "  redis.call('PEXPIRE', key, life)\n"),
    "starts-of-a-user-without-number": one("include_record", "  redis.call('LTRIM', key, 0, 19)\n"),
    "claimed-approval-is-used-again": one("evidence_claim", "evidence.use(needed, arg.by)", "local _ = 0"),
    "claimed-user-forgets-the-start": one(
        "user_claim", "record.note_of_user(key.verifications, arg.verification, arg.life)\n"
    ),
    "claim-for-a-frozen-user": one("user_claim", "if why then return reply.user_frozen() end\n"),
    "claimed-approval-stays-used": one(
        "evidence_release", "redis.call('HDEL', key.evidence, 'started')", "local _ = 0"
    ),
    "record-forgets-what-it-rests-on": one(
        "include_record", "  if self.basis then redis.call('HSET', self.key, 'basis', self.basis) end\n"
    ),
}
_CHECKS: dict[str, Mutant] = {
    "check-again-while-there-is-no-mirror": one(
        "check",
        "  if first[1] == '' and not mirror.is_there(key.mirror) then return reply.mirror_behind() end\n",
    ),
    "check-while-there-is-no-mirror": one(
        "check",
        "if right and verification.basis ~= '' and not mirror",
        "if false and not mirror",
    ),
    "factor-check-again-while-there-is-no-mirror": one(
        "factor_check",
        "  if first[1] == '' and not mirror.is_there(key.mirror) then return reply.mirror_behind() end\n",
    ),
    "guess-again-while-there-is-no-mirror": one(
        "user_guess",
        "first.basis ~= '' and not mirror.is_there(key.mirror)",
        "false",
    ),
    "page-redeemed-while-there-is-no-mirror": one(
        "page_redeem",
        "if status == 'approved' and not mirror.is_there(key.mirror) then return reply.mirror_behind() end\n",
    ),
    "proof-redeemed-while-there-is-no-mirror": one(
        "proof_redeem", "if not mirror.is_there(key.mirror) then return reply.mirror_behind() end\n"
    ),
    "approval-read-while-there-is-no-mirror": one(
        "approval_read", "if not mirror.is_there(key.mirror) then return reply.mirror_behind() end\n"
    ),
    "approval-read-though-it-was-revoked": one("approval_read", "revoked and 1 or 0", "0"),
    "check-again-although-revoked": one("check", "first[1] == '' and mirror", "false and mirror"),
    "check-again-revokes-a-wrong-code": one("check", "first[1] == '' and mirror", "mirror"),
    "check-cancels-for-a-freeze-alone": one("check", "{ reason = revoked, ", "{ reason = 'frozen', "),
    "check-rests-on-the-number-alone": one("check", " .. verification.basis\n", "\n"),
    "check-passes-over-other-buckets": one(
        "check", "arg.elsewhere == '' and mirror.elsewhere(verification.basis) or ''", "''"
    ),
    "check-although-another-bucket-revokes": one(
        "include_mirror", "  if elsewhere and elsewhere ~= '' and elsewhere ~= 'valid' then return elsewhere end\n"
    ),
    "proof-passes-over-other-buckets": one("proof_redeem", "elsewhere ~= '' and arg.elsewhere == ''", "false"),
    "page-passes-over-other-buckets": one("page_redeem", "elsewhere ~= '' and arg.elsewhere == ''", "false"),
    "message-passes-over-other-buckets": one("dispatch", "elsewhere ~= '' and arg.elsewhere == ''", "false"),
    "resend-passes-over-other-buckets": one("resend", "elsewhere ~= '' and arg.elsewhere == ''", "false"),
    "claim-while-there-is-no-mirror": one(
        "evidence_claim", "if not mirror.is_there(key.mirror) then return reply.mirror_behind() end\n"
    ),
    "check-rests-on-no-number": one("check", "mirror.basis(arg.mirrored .. verification.pseudonym) .. "),
    "check-leaves-no-evidence": one("check", "if arg.evidence_lives ~= '' then", "if false then"),
    "check-leaves-evidence-while-a-proof-lives": one("check", "lives[verification.purpose] or lives['']", "lives['']"),
    "check-leaves-evidence-that-knows-no-lift": one("check", "basis, verification.lifted, lives", "basis, 0, lives"),
    "factor-check-again-although-revoked": one("factor_check", "revoked and 'revoked' or first[1]", "first[1]"),
    "factor-check-remembers-no-basis": one("factor_check", ", 'basis', basis, 'lifted', lifted)", ")"),
    "factor-check-remembers-no-lift": one("factor_check", ", 'lifted', lifted)", ")"),
    "factor-check-without-evidence": one(
        "factor_check",
        "if not needed then return reply.step_up() end\n",
        "needed = needed or { basis = '', lifted = 0 }\n",
    ),
    "user-guess-again-although-revoked": one("user_guess", "if revoked or first.reason", "if first.reason"),
    "user-guess-without-evidence": one(
        "user_guess",
        "if not needed then return reply.step_up() end\n",
        "needed = needed or { basis = '', lifted = 0 }\n",
    ),
    "proof-although-revoked": one("proof_redeem", "if revoked then return reply.approval_revoked() end\n"),
    "proof-revoked-as-if-it-was-used": one(
        "proof_redeem", "return reply.approval_revoked()", "return reply.not_redeemable()"
    ),
    "page-result-although-revoked": one("page_redeem", "if status == 'approved' and mirror", "if false and mirror"),
    "page-result-that-rests-on-no-number": one(
        "page_redeem", "mirror.basis(arg.mirrored .. verification.pseudonym) .. "
    ),
    "page-result-that-rests-on-the-number-alone": one("page_redeem", " .. verification.basis\n", "\n"),
}
DEFECTS: dict[str, Mutant] = {**_KEPT, **_REVOKED, **_STARTS, **_CHECKS}
