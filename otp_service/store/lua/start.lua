-- Starts a verification: counted, recorded, queued and reported in one step, or refused without a trace.
--
-- KEYS[1] the record    KEYS[2] lane of the outbox   KEYS[3] names of the lanes
-- KEYS[4] names of those that may have new jobs      KEYS[5] wake-up list         KEYS[6] events
-- KEYS[7] the number's last verifications            KEYS[8] idempotency key; the record again when there is none
-- KEYS[9] and following: the windows of the locks, then those of the limits
-- ARGV[1] idempotency fingerprint, empty without one
-- ARGV[2] life of the idempotency key in milliseconds
-- ARGV[3] life of the code in milliseconds
-- ARGV[4] milliseconds that the record outlives the code
-- ARGV[5] greatest length of the lane; when it is reached nothing is accepted, for nothing is delivered
-- ARGV[6] greatest length of the events
-- ARGV[7] greatest age of both in milliseconds
-- ARGV[8] number of locks (tested, not spent) ARGV[9] number of limits (tested and spent)
-- ARGV[10] place of the application's own limit among the limits, 0 when there is none
-- ARGV[11] identifier   ARGV[12] application   ARGV[13] purpose   ARGV[14] country   ARGV[15] channel
-- ARGV[16] and following: three values a lock; three a limit; and up to the end the record's fields: name,
-- value, …
-- Derives: the record of the first start, from the idempotency key (same hash tag)
-- Returns one of: {'started', now, quota used, quota reset} {'replayed', now, remembered, record}
--                 {'mismatch'} {'backlog-full'} {'locked', wait} {'limited', place, wait, quota used, quota reset}
-- include clock limits streams idempotency deliveries

local remembered = idempotency.recall(KEYS[8], ARGV[1])
if remembered == 'mismatch' then return { 'mismatch' } end
if remembered then
  return { 'replayed', now, remembered, redis.call('HGETALL', redis.call('HGET', KEYS[8], 'record')) }
end

if streams.full(KEYS[2], KEYS[3], ARGV[5], ARGV[3]) then return { 'backlog-full' } end

local locks, arg, key = limits.read(tonumber(ARGV[8]), 16, 9)
local counted
counted, arg = limits.read(tonumber(ARGV[9]), arg, key)
local place, wait = limits.refusal(locks)
if place then return { 'locked', wait } end
place, wait = limits.refusal(counted)
local quota = counted[tonumber(ARGV[10])] or { used = 0, ttl = 0 }
if place then return { 'limited', place, wait, quota.used, quota.ttl } end
limits.spend(counted)

local about = { id = ARGV[11], application = ARGV[12], purpose = ARGV[13], country = ARGV[14] }
local expires = now + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'created', now, 'expires', expires, 'last_send', now,
  deliveries.slot(1, 1), deliveries.queued(ARGV[15]), unpack(ARGV, arg))
redis.call('PEXPIREAT', KEYS[1], expires + tonumber(ARGV[4]))
if ARGV[1] ~= '' then
  redis.call('HSET', KEYS[1], 'start', KEYS[8])
  idempotency.remember(KEYS[8], ARGV[1], ARGV[2], 'record', KEYS[1], 'created', now, 'expires', expires,
    'status', 'pending')
end
streams.queue(KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[7], about, ARGV[15], 1, 0, expires)
redis.call('LPUSH', KEYS[7], ARGV[11] .. '|' .. now)
redis.call('LTRIM', KEYS[7], 0, 19)
redis.call('PEXPIRE', KEYS[7], ARGV[7])
streams.report(KEYS[6], ARGV[6], ARGV[7], 'verification.started', about, 'channel', ARGV[15])
return { 'started', now, quota.used + 1, quota.ttl }
