-- Uses the result of a page, once. A Redis that lost the record redeems nothing. Revocations come from the record (same hash tag).
-- include clock fence record mirror
local verification = record.read(key.record, arg.application)
if not verification or now >= tonumber(arg.ends) then return reply.not_redeemable() end
local status = record.status(verification)
if status == 'pending' then return reply.not_redeemable() end
if status == 'approved' and not mirror.is_there(key.mirror) then return reply.mirror_behind() end
local elsewhere = mirror.elsewhere(verification.basis)
if status == 'approved' and elsewhere ~= '' and arg.elsewhere == '' then return reply.elsewhere { basis = elsewhere, lifted = verification.lifted } end
local basis = mirror.basis(arg.mirrored .. verification.pseudonym) .. verification.basis
if status == 'approved' and mirror.revoked(verification, basis, arg.elsewhere) then status = 'canceled' end
if redis.call('HSETNX', key.record, 'result', now) == 0 then return reply.not_redeemable() end
return reply.page_redeemed { status = status }
