-- Cancels a verification. One that is canceled already stays so; one that ended otherwise is not changed.
--
-- KEYS[1] the record    KEYS[2] events    KEYS[3] idempotency key; the record again when there is none
-- ARGV[1] application   ARGV[2] idempotency fingerprint, empty without one
-- ARGV[3] why, empty when the application asks for it: frozen
-- ARGV[4] identifier of the request, empty outside the API
-- Returns one of: {'not-found'} {'mismatch'} {'final', status} {'canceled', now, record}
-- include clock fence streams idempotency record

local found = record.read(KEYS[1], ARGV[1])
if not found then return { 'not-found' } end
local remembered = idempotency.find(KEYS[3], ARGV[2])
if remembered == 'mismatch' then return { 'mismatch' } end
if not remembered and found.status ~= 'canceled' then
  if found.status ~= 'pending' then return { 'final', found.status } end
  if now >= found.expires then return { 'final', 'expired' } end
  record.finish(found, 'canceled')
  streams.report(KEYS[2], 'verification.canceled', found, { reason = ARGV[3], request = ARGV[4] ~= '' and ARGV[4] or nil })
end
if not remembered then idempotency.remember_with(KEYS[1], KEYS[3], ARGV[2]) end
return { 'canceled', now, record.read_all(KEYS[1]) }
