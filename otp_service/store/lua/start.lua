-- Starts a verification: counted, recorded, queued and reported in one step, or refused without a trace but the reason.
--
-- KEYS[1] the record    KEYS[2] queue of the outbox   KEYS[3] names of the queues
-- KEYS[4] names of those that may have new jobs      KEYS[5] wake-up list         KEYS[6] events
-- KEYS[7] the number's last verifications            KEYS[8] idempotency key; the record again when there is none
-- KEYS[9] decisions     KEYS[10] the mirror's head    KEYS[11] what it says of the number
-- KEYS[12] and following: the guard's keys, then its windows
-- ARGV[1] idempotency fingerprint, empty without one
-- ARGV[2] life of the idempotency key in milliseconds
-- ARGV[3] life of the code in milliseconds
-- ARGV[4] milliseconds that the record outlives the code
-- ARGV[5] greatest length of the queue; when it is reached nothing is accepted, for nothing is delivered
-- ARGV[6] events that may wait to be recorded; from then on nothing is accepted
-- ARGV[7] greatest age of all streams in milliseconds
-- ARGV[8] greatest length of the decisions
-- ARGV[9] identifier   ARGV[10] application   ARGV[11] purpose   ARGV[12] country   ARGV[13] channel
-- ARGV[14] pseudonym of the number   ARGV[15] scopes of the windows   ARGV[16] home or abroad
-- ARGV[17] 1 when the number is on the safe list    ARGV[18] pseudonym of the context, empty for none
-- ARGV[19] dearest price of the message in millionths   ARGV[20] what the guard sees of it, packed
-- ARGV[21] rules that only record, and would have refused before Redis was asked, blanks between
-- ARGV[22] identity of the ledger   ARGV[23] place that it is known to have come to
-- ARGV[24] which consent is needed: required, recorded, off    ARGV[25] a consent that comes with the start: JSON, or empty
-- ARGV[26] name under which its payment can be found, and ARGV[27] that of its reference; empty for none
-- ARGV[28] the traceparent that the message carries on, empty without traces
-- ARGV[29] and following: the record's fields: name, value, …
-- Derives: the record of the first start, from the idempotency key (same hash tag)
-- Returns one of: {'started', now, quota, quota used, quota reset, rules that only record} {'replayed', now, remembered, record} {'mismatch'}
--                 {'withheld', by what: mirror-behind, frozen, suppressed, consent-required, consent-outdated} {'events-full'} {'backlog-full'}
--                 {'refused', decision, rule, wait, quota, quota used, quota reset}
-- include clock fence states counters limits reputation waits buckets conversions rule_hits spending failure_alarm bucket_counts approvals
-- include guesses fraud guard streams idempotency record mirror deliveries

local remembered = idempotency.find(KEYS[8], ARGV[1])
if remembered == 'mismatch' then return { 'mismatch' } end
if remembered then
  return { 'replayed', now, fence.apply(remembered), record.read_all(redis.call('HGET', KEYS[8], 'record')) }
end

local about = { application = ARGV[10], purpose = ARGV[11], country = ARGV[12], trace = ARGV[28],
  lifted = math.huge } -- knows of every lift
local given = ARGV[25] ~= '' and cjson.decode(ARGV[25]).given or nil
local why, place, lifted = mirror.refusal(KEYS[10], KEYS[11], about, ARGV[22], ARGV[23], ARGV[24], -1, given)
if why then return { 'withheld', why } end
if redis.call('XLEN', KEYS[6]) >= tonumber(ARGV[6]) then return { 'events-full' } end
local full, ahead = streams.is_full(KEYS[2], KEYS[3], ARGV[5], ARGV[3])
if full then return { 'backlog-full' } end

local sending = guard.read(12, {}, { kind = 'start', about = about, number = ARGV[14], scopes = ARGV[15],
  place = ARGV[16], safe = ARGV[17] == '1', context = ARGV[18], price = tonumber(ARGV[19]) })
for rule in string.gmatch(ARGV[21], '%S+') do
  rule_hits.add(sending.rule_hits, { rule = rule, record_only = true }, 1, 0, 0)
end
local refusal, quota = guard.test(sending), limits.quota(sending.windows)
if refusal then
  fraud.write_changes(sending)
  local decision = guard.report(sending, KEYS[9], ARGV[8], ARGV[7], 'sending', ARGV[20], 'after', streams.last_entry(KEYS[6]))
  return { 'refused', decision, refusal.rule, refusal.wait, quota.most, quota.used, quota.ttl }
end
guard.count(sending)
about.id = ARGV[9]
guard.report(sending, KEYS[9], ARGV[8], ARGV[7])

local expires = now + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'created', now, 'expires', expires, 'last_send', now, 'guard', approvals.flags(sending),
  'ledger', place, deliveries.slot(1, 1), deliveries.new_slot(ARGV[13]), unpack(ARGV, 29))
bucket_counts.note(KEYS[1], sending, {})
redis.call('PEXPIREAT', KEYS[1], expires + tonumber(ARGV[4]))
fence.note(KEYS[1])
if given then redis.call('HSET', KEYS[1], 'consented', string.format('%.0f', given)) end
if lifted > 0 then redis.call('HSET', KEYS[1], 'lifted', lifted) end
if sending.price > 0 then spending.reserve(KEYS[1], 1, 1, sending.price) end
if ARGV[1] ~= '' then
  redis.call('HSET', KEYS[1], 'start', KEYS[8])
  idempotency.remember(KEYS[8], ARGV[1], ARGV[2], 'record', KEYS[1], 'created', now, 'expires', expires,
    'status', 'pending')
  fence.note(KEYS[8])
end
streams.queue_message(KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[7], ahead, about, ARGV[13], 1, 0, expires)
if redis.call('LPUSH', KEYS[7], ARGV[9] .. '|' .. now) > 20 then redis.call('LTRIM', KEYS[7], 0, 19) end
redis.call('PEXPIRE', KEYS[7], ARGV[7])
streams.report(KEYS[6], 'verification.started', about, 'channel', ARGV[13], 'pseudonym', ARGV[14], 'ledger', place,
  'expires', expires, 'payment', ARGV[26], 'payment_reference', ARGV[27], 'sending', ARGV[20])
if given then -- an event of its own, which goes when it is recorded: the other is kept for some days
  streams.report(KEYS[6], 'consent.given', about, 'pseudonym', ARGV[14], 'ledger', place, 'consent', ARGV[25])
end
return { 'started', now, quota.most, quota.used + 1, quota.ttl, rule_hits.rules(sending.rule_hits) }
