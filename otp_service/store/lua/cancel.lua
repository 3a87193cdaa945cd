-- Cancels a verification. A canceled one stays so; one that ended otherwise is not changed.
-- include clock fence streams idempotency record
local verification = record.read(key.record, arg.application)
if not verification then return reply.not_found() end
local remembered = idempotency.find(key.idempotency, arg.fingerprint)
if remembered == 'mismatch' then return reply.mismatch() end
local status = record.status(verification)
if not remembered and status ~= 'canceled' then
  if status ~= 'pending' then return reply.already_final { status = status } end
  record.finish(verification, 'canceled')
  streams.report(key.events, 'verification.canceled', verification, { reason = arg.reason, request = arg.request ~= '' and arg.request or nil })
end
if not remembered then idempotency.remember_with(key.record, key.idempotency, arg.fingerprint) end
return reply.canceled { now = now, record = record.read_all(key.record) }
