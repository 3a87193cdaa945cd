-- Cancels a verification. A canceled one stays so; one that ended otherwise is not changed.
-- include clock fence streams idempotency record

local found = record.read(key.record, arg.application)
if not found then return reply.not_found() end
local remembered = idempotency.find(key.idempotency, arg.fingerprint)
if remembered == 'mismatch' then return reply.mismatch() end
if not remembered and found.status ~= 'canceled' then
  if found.status ~= 'pending' then return reply.already_final { status = found.status } end
  if now >= found.expires then return reply.already_final { status = 'expired' } end
  record.finish(found, 'canceled')
  streams.report(key.events, 'verification.canceled', found, { reason = arg.reason, request = arg.request ~= '' and arg.request or nil })
end
if not remembered then idempotency.remember_with(key.record, key.idempotency, arg.fingerprint) end
return reply.canceled { now = now, record = record.read_all(key.record) }
