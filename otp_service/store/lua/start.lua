-- Starts a verification: counted, recorded, queued and reported in one step, or refused without a trace but the reason.
--
-- KEYS[1] the record    KEYS[2] queue of the outbox   KEYS[3] names of the queues
-- KEYS[4] names of those that may have new jobs      KEYS[5] wake-up list         KEYS[6] events
-- KEYS[7] idempotency key; the record again when there is none       KEYS[8] decisions
-- KEYS[9] the mirror's head                           KEYS[10] what it says of the number
-- KEYS[11] and following: number, application, country, block; address, its /48 and its /32 where there are any
-- ARGV[1] idempotency fingerprint, empty without one
-- ARGV[2] life of the idempotency key in milliseconds
-- ARGV[3] life of the code in milliseconds
-- ARGV[4] milliseconds that the record outlives the code
-- ARGV[5] greatest length of the queue; when it is reached nothing is accepted, for nothing is delivered
-- ARGV[6] events that may wait to be recorded; from then on nothing is accepted
-- ARGV[7] greatest age of all streams in milliseconds
-- ARGV[8] greatest length of the decisions
-- ARGV[9] identifier   ARGV[10] application   ARGV[11] purpose   ARGV[12] country   ARGV[13] channel
-- ARGV[14] pseudonym of the number   ARGV[15] home or abroad
-- ARGV[16] 1 when the number is on the safe list    ARGV[17] pseudonym of the context, empty for none
-- ARGV[18] dearest price of the message in millionths   ARGV[19] what the guard sees of it, packed
-- ARGV[20] rules that only record, and would have refused before Redis was asked, blanks between
-- ARGV[21] identity of the ledger   ARGV[22] place that it is known to have come to
-- ARGV[23] which consent is needed: required, recorded, off    ARGV[24] a consent that comes with the start: JSON, or empty
-- ARGV[25] name under which its payment can be found, and ARGV[26] that of its reference; empty for none
-- ARGV[27] the traceparent that the message carries on, empty without traces
-- ARGV[28] and following: the record's fields: name, value, …
-- Derives: the record of the first start, from the idempotency key (same hash tag)
-- Returns one of: {'started', now, quota, quota used, quota reset, rules that only record} {'replayed', now, remembered, record} {'mismatch'}
--                 {'withheld', by what: mirror-behind, frozen, suppressed, consent-required, consent-outdated} {'events-full'} {'backlog-full'}
--                 {'refused', decision, rule, wait, quota, quota used, quota reset}
-- include clock fence rows counters streaks limits number subjects asked buckets conversions rule_hits spending failure_alarm
-- include approvals fraud guard streams idempotency record mirror deliveries

local remembered = idempotency.find(KEYS[7], ARGV[1])
if remembered == 'mismatch' then return { 'mismatch' } end
if remembered then
  return { 'replayed', now, fence.apply(remembered), record.read_all(redis.call('HGET', KEYS[7], 'record')) }
end

local about = { application = ARGV[10], purpose = ARGV[11], country = ARGV[12], trace = ARGV[27],
  lifted = math.huge } -- knows of every lift
local given = ARGV[24] ~= '' and cjson.decode(ARGV[24]).given or nil
local why, place, lifted = mirror.refusal(KEYS[9], KEYS[10], about, ARGV[21], ARGV[22], ARGV[23], -1, given)
if why then return { 'withheld', why } end
if redis.call('XLEN', KEYS[6]) >= tonumber(ARGV[6]) then return { 'events-full' } end
local full, ahead = streams.is_full(KEYS[2], KEYS[3], ARGV[5], ARGV[3])
if full then return { 'backlog-full' } end

local sending = guard.read(KEYS, 11, { kind = 'start', about = about, number = ARGV[14], place = ARGV[15],
  safe = ARGV[16] == '1', context = ARGV[17], price = tonumber(ARGV[18]) })
for rule in string.gmatch(ARGV[20], '%S+') do
  rule_hits.add(sending.rule_hits, { rule = rule, record_only = true }, 1, 0, 0)
end
local refusal, quota = guard.test(sending)
if refusal then
  fraud.keep_changes(sending)
  local decision = guard.report(sending, KEYS[8], ARGV[8], ARGV[7], 'sending', ARGV[19], 'after', streams.last_entry(KEYS[6]))
  return { 'refused', decision, refusal.rule, refusal.wait, quota.most, quota.used, quota.ttl }
end
about.id = ARGV[9]
guard.count(sending)
guard.report(sending, KEYS[8], ARGV[8], ARGV[7])

local expires, note = now + tonumber(ARGV[3]), approvals.note(sending, ARGV[19])
redis.call('HSET', KEYS[1], 'created', now, 'expires', expires, 'last_send', now, 'guard', note,
  'ledger', place, deliveries.slot(1, 1), deliveries.new_slot(ARGV[13]), unpack(ARGV, 28))
redis.call('PEXPIREAT', KEYS[1], expires + tonumber(ARGV[4]))
fence.note(KEYS[1])
if given then redis.call('HSET', KEYS[1], 'consented', string.format('%.0f', given)) end
if lifted > 0 then redis.call('HSET', KEYS[1], 'lifted', lifted) end
if sending.price > 0 then spending.reserve(KEYS[1], 1, 1, sending.price) end
if ARGV[1] ~= '' then
  redis.call('HSET', KEYS[1], 'start', KEYS[7])
  idempotency.remember(KEYS[7], ARGV[1], ARGV[2], 'record', KEYS[1], 'created', now, 'expires', expires,
    'status', 'pending')
  fence.note(KEYS[7])
end
streams.queue_message(KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[7], ahead, about, ARGV[13], 1, 0, expires)
streams.report(KEYS[6], 'verification.started', about, 'channel', ARGV[13], 'pseudonym', ARGV[14], 'ledger', place,
  'expires', expires, 'payment', ARGV[25], 'payment_reference', ARGV[26], 'sending', ARGV[19],
  'guard', note)
if given then -- an event of its own, which goes when it is recorded: the other is kept for some days
  streams.report(KEYS[6], 'consent.given', about, 'pseudonym', ARGV[14], 'ledger', place, 'consent', ARGV[24])
end
return { 'started', now, quota.most, quota.used + 1, quota.ttl, rule_hits.rules(sending.rule_hits) }
