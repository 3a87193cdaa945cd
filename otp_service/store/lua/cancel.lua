-- Cancels a verification. One that is canceled already stays so; one that ended otherwise is not changed.
--
-- KEYS[1] the record    KEYS[2] events    KEYS[3] idempotency key; the record again when there is none
-- ARGV[1] application   ARGV[2] idempotency fingerprint, empty without one
-- ARGV[3] life of the idempotency key in milliseconds
-- ARGV[4] greatest length of the events   ARGV[5] their greatest age in milliseconds
-- Returns one of: {'not-found'} {'mismatch'} {'final', status} {'canceled', now, record}
-- include clock streams retries record

local found = record.of(KEYS[1], ARGV[1], 'purpose', 'country')
if not found then return { 'not-found' } end
local remembered = retries.recall(KEYS[3], ARGV[2])
if remembered == 'mismatch' then return { 'mismatch' } end
if not remembered and found.status ~= 'canceled' then
  if found.status ~= 'pending' then return { 'final', found.status } end
  if now >= tonumber(found.expires) then return { 'final', 'expired' } end
  record.finish(KEYS[1], 'canceled')
  streams.append(KEYS[2], ARGV[4], ARGV[5], 'type', 'verification.canceled', 'id', string.match(KEYS[1], '[^:]+$'),
    'application', ARGV[1], 'purpose', found.purpose, 'country', found.country)
end
if not remembered then retries.remember(KEYS[3], ARGV[2], ARGV[3], 'record', KEYS[1]) end
return { 'canceled', now, redis.call('HGETALL', KEYS[1]) }
