-- Sends a verification's code again: the same one, or the next generation. Neither its life nor a guess
-- budget is renewed.
--
-- KEYS[1] the record    KEYS[2] lane of the outbox   KEYS[3] names of the lanes
-- KEYS[4] names of those that may have new jobs      KEYS[5] wake-up list
-- KEYS[6] events        KEYS[7] idempotency key; the record again when there is none
-- KEYS[8] and following: the windows of the locks, then those of the limits
-- ARGV[1] application   ARGV[2] idempotency fingerprint, empty without one
-- ARGV[3] channel       ARGV[4] generation that the caller read
-- ARGV[5] tag of the next generation, empty for the same code
-- ARGV[6] greatest length of the lane; when it is reached nothing is accepted, for nothing is delivered
-- ARGV[7] greatest length of the events
-- ARGV[8] greatest age of both in milliseconds
-- ARGV[9] number of locks (tested, not spent) ARGV[10] number of limits (tested and spent)
-- ARGV[11] place of the application's own limit among the limits, 0 when there is none
-- ARGV[12] number of the message that this one falls back from, which makes it wait for nothing; 0 when a caller
-- asks for it
-- ARGV[13] and following: three values a lock, then three a limit
-- Returns one of: {'not-found'} {'mismatch'} {'final', status} {'no-sends-left'} {'too-soon', wait}
--                 {'overtaken'} {'backlog-full'} {'locked', wait} {'limited', place, wait, quota used, quota reset}
--                 {'queued', now, record, quota used, quota reset}
-- include clock limits streams idempotency record deliveries

local found = record.of(KEYS[1], ARGV[1], 'sends', 'max_sends', 'resend_delays', 'last_send', 'generation')
if not found then return { 'not-found' } end
local remembered = idempotency.recall(KEYS[7], ARGV[2])
if remembered == 'mismatch' then return { 'mismatch' } end
if remembered then return { 'queued', now, redis.call('HGETALL', KEYS[1]), 0, 0 } end

if found.status ~= 'pending' then return { 'final', found.status } end
if now >= tonumber(found.expires) then return { 'final', 'expired' } end
local sends = tonumber(found.sends)
if sends >= tonumber(found.max_sends) then return { 'no-sends-left' } end

local delay, place_of_delay = 0, 0
for seconds in string.gmatch(found.resend_delays, '%d+') do
  place_of_delay = place_of_delay + 1
  if place_of_delay <= sends then delay = tonumber(seconds) * 1000 end -- the last one repeats
end
local wait = tonumber(found.last_send) + delay - now
if wait > 0 and ARGV[12] == '0' then return { 'too-soon', wait } end
if found.generation ~= ARGV[4] or (ARGV[12] ~= '0' and ARGV[12] ~= found.sends) then return { 'overtaken' } end
if ARGV[12] ~= '0' and deliveries.tally(redis.call('HGETALL', KEYS[1]), ARGV[12], 0).delivered > 0 then
  return { 'overtaken' } -- another call for the message did arrive
end
if streams.full(KEYS[2], KEYS[3], ARGV[6], found.expires - now) then return { 'backlog-full' } end

local locks, arg, key = limits.read(tonumber(ARGV[9]), 13, 8)
local counted = limits.read(tonumber(ARGV[10]), arg, key)
local place
place, wait = limits.refusal(locks)
if place then return { 'locked', wait } end
place, wait = limits.refusal(counted)
local quota = counted[tonumber(ARGV[11])] or { used = 0, ttl = 0 }
if place then return { 'limited', place, wait, quota.used, quota.ttl } end
limits.spend(counted)

sends = sends + 1
local generation = tonumber(found.generation)
if ARGV[5] ~= '' then
  generation = generation + 1
  redis.call('HSET', KEYS[1], 'generation', generation, 'tag', ARGV[5])
end
redis.call('HSET', KEYS[1], 'sends', sends, 'last_send', now, 'channel', ARGV[3],
  deliveries.slot(sends, 1), deliveries.queued(ARGV[3]))
idempotency.remember_with(KEYS[1], KEYS[7], ARGV[2])
streams.queue(KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[8], found, ARGV[3], sends, generation, found.expires)
streams.report(KEYS[6], ARGV[7], ARGV[8], 'verification.resent', found, 'channel', ARGV[3], 'falls_back_from', ARGV[12])
return { 'queued', now, redis.call('HGETALL', KEYS[1]), quota.used + 1, quota.ttl }
