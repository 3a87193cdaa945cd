-- Sends a verification's code again: the same one, or the next generation. Neither its life nor a guess
-- budget is renewed.
--
-- KEYS[1] the record    KEYS[2] queue of the outbox   KEYS[3] names of the queues
-- KEYS[4] names of those that may have new jobs      KEYS[5] wake-up list
-- KEYS[6] events        KEYS[7] idempotency key; the record again when there is none
-- KEYS[8] decisions     KEYS[9] the mirror's head   KEYS[10] what it says of the number
-- KEYS[11] number   KEYS[12] application   KEYS[13] country   KEYS[14] block
-- ARGV[1] application   ARGV[2] idempotency fingerprint, empty without one
-- ARGV[3] channel       ARGV[4] generation that the caller read
-- ARGV[5] tag of the next generation, empty for the same code
-- ARGV[6] greatest length of the queue; when it is reached nothing is accepted, for nothing is delivered
-- ARGV[7] events that may wait to be recorded; from then on nothing is accepted
-- ARGV[8] greatest age of all streams in milliseconds
-- ARGV[9] greatest length of the decisions
-- ARGV[10] dearest price of the message in millionths
-- ARGV[11] number of the message that this one falls back from, which makes it wait for nothing; 0 when a caller
-- asks for it
-- ARGV[12] identity of the ledger   ARGV[13] position in it that the mirror must have reached
-- ARGV[14] which consent is needed: recorded, off   ARGV[15] the traceparent that the message carries on, or empty
-- ARGV[16] number of the call that this one falls back from, which must be the last one for its message; or 0
-- ARGV[17] identifier of the request, empty outside the API
-- Derives: what it rests on, from the record (same hash tag)
-- Returns one of: {'not-found'} {'mismatch'} {'final', status} {'no-sends-left'} {'too-soon', wait}
--                 {'conflict'} {'withheld', by what: mirror-behind, frozen, suppressed, consent-required} {'events-full'} {'backlog-full'}
--                 {'refused', decision, rule, wait, quota, quota used, quota reset}
--                 {'queued', now, record, quota, quota used, quota reset, rules that only record}
-- include clock fence rows counters limits number subjects targets buckets conversions rule_hits spending failure_alarm
-- include approvals newcomers fraud guard streams idempotency record mirror deliveries

local found = record.read(KEYS[1], ARGV[1])
if not found then return { 'not-found' } end
local remembered = idempotency.find(KEYS[7], ARGV[2])
if remembered == 'mismatch' then return { 'mismatch' } end
if remembered then return { 'queued', now, record.read_all(KEYS[1]), 0, 0, 0, '' } end

if found.status ~= 'pending' then return { 'final', found.status } end
if now >= found.expires then return { 'final', 'expired' } end
local sends, falls_back_from = found.sends, tonumber(ARGV[11]) -- 0 for a caller's
if sends >= tonumber(found.max_sends) then return { 'no-sends-left' } end

local delay, place_of_delay = 0, 0
for seconds in string.gmatch(found.resend_delays, '%d+') do
  place_of_delay = place_of_delay + 1
  if place_of_delay <= sends then delay = tonumber(seconds) * 1000 end -- the last one repeats
end
local wait = found.last_send + delay - now
if wait > 0 and falls_back_from == 0 then return { 'too-soon', wait } end
if found.generation ~= tonumber(ARGV[4]) or (falls_back_from > 0 and falls_back_from ~= sends) then return { 'conflict' } end
if falls_back_from > 0 and deliveries.tally(redis.call('HGETALL', KEYS[1]), ARGV[11], 0).delivered > 0 then
  return { 'conflict' } -- another call for the message did arrive
end
if falls_back_from > 0 and redis.call('HGET', KEYS[1], 'n' .. ARGV[11]) ~= ARGV[16] then return { 'conflict' } end
local why = mirror.refusal(KEYS[9], KEYS[10], found, ARGV[12], ARGV[13], ARGV[14], found.ledger)
if why == 'canceled' then return { 'final', why } end
if why then return { 'withheld', why } end
if redis.call('XLEN', KEYS[6]) >= tonumber(ARGV[7]) then return { 'events-full' } end
local full, ahead = streams.is_full(KEYS[2], KEYS[3], tonumber(ARGV[6]), found.expires - now)
if full then return { 'backlog-full' } end

local sending = guard.read({ KEYS[11], KEYS[12], KEYS[13], KEYS[14] }, 1, { kind = falls_back_from == 0 and 'resend' or 'fallback', about = found,
  place = approvals.has(found, 'h') and 'home' or 'abroad', safe = approvals.has(found, 's'), price = tonumber(ARGV[10]),
  passed = approvals.has(found, 'q'), range = string.match(found.guard, '^%a*(%d*)') })
local refusal, quota = guard.test(sending)
if refusal then
  fraud.keep_changes(sending)
  local decision = guard.report(sending, KEYS[8], ARGV[9], ARGV[8], 'price', ARGV[10], 'after', streams.last_entry(KEYS[6]),
    'request', ARGV[17])
  return { 'refused', decision, refusal.rule, refusal.wait, quota.amount, quota.used, quota.ttl }
end
guard.count(sending)
guard.report(sending, KEYS[8], ARGV[9], ARGV[8])

sends = sends + 1
found.sends, found.last_send, found.channel = sends, now, ARGV[3]
found.guard = (found.guard == '' and '.' or found.guard) .. sending.counted
if ARGV[5] ~= '' then found.generation, found.tag = found.generation + 1, record.stored_tag(ARGV[5]) end
record.write(found)
redis.call('HSET', KEYS[1], deliveries.slot(sends, 1), deliveries.new_slot(ARGV[3]))
if sending.price > 0 then spending.reserve(KEYS[1], sends, 1, sending.price) end
if falls_back_from > 0 then redis.call('HSET', KEYS[1], 'after' .. ARGV[11], sends) end -- whoever has that one stops
idempotency.remember_with(KEYS[1], KEYS[7], ARGV[2])
streams.put(KEYS[2], KEYS[3], KEYS[4], KEYS[5], ahead, cjson.encode({ v = '1', id = found.id,
  application = found.application, purpose = found.purpose, country = found.country, channel = ARGV[3], message = sends,
  generation = found.generation, expires = found.expires, queued = now, trace = ARGV[15] }))
streams.report(KEYS[6], 'verification.resent', found,
  { channel = ARGV[3], falls_back_from = ARGV[11], price = ARGV[10], guard = found.guard,
    request = ARGV[17] ~= '' and ARGV[17] or nil })
return { 'queued', now, record.read_all(KEYS[1]), quota.amount, quota.used + 1, quota.ttl, rule_hits.rules(sending.rule_hits) }
