-- Uses the proof of an approval, once. A Redis that lost the evidence proves nothing. Revocations come from its basis (same hash tag).
-- include clock fence mirror evidence
local approval, revoked = evidence.read(key.evidence, arg.application, arg.elsewhere)
if not approval then return reply.not_redeemable() end
if not mirror.is_there(key.mirror) then return reply.mirror_behind() end
local elsewhere = mirror.elsewhere(approval.basis)
if elsewhere ~= '' and arg.elsewhere == '' then return reply.elsewhere { basis = elsewhere, lifted = approval.lifted } end
if revoked then return reply.approval_revoked() end
if redis.call('HSETNX', key.evidence, 'redeemed', now) == 0 then return reply.not_redeemable() end
return reply.proof_redeemed()
