-- Starts a verification: counted, recorded, queued and reported in one step. Of one that a rule refuses, the decision is kept and
-- what it changed of breakers; one that a human check would let pass is counted as a request as well.
--
-- KEYS[1] the record    KEYS[2] queue of the outbox   KEYS[3] names of the queues
-- KEYS[4] names of those that may have new jobs      KEYS[5] wake-up list         KEYS[6] events
-- KEYS[7] idempotency key; the record again when there is none       KEYS[8] decisions
-- KEYS[9] the mirror's head                           KEYS[10] what it says of the number
-- KEYS[11] what the mirror says of the user, and KEYS[12] the user's last verifications, where they are in this bucket; then the
-- evidence of an earlier approval, where it is (for others see evidence_claim)
-- The others: number, application, country, block; address, its /48 and its /32 where there are any
-- ARGV[1] identifier    ARGV[2] idempotency fingerprint, empty without one    ARGV[3] locale
-- ARGV[4] what the guard sees of it, packed (SendAttempt.encoded in domain/guard.py)
-- ARGV[5] tag of the code    ARGV[6] digest of the transaction, empty without one
-- Sealed: ARGV[7] number   ARGV[8] mask   ARGV[9] details
-- ARGV[10] rules that only record, and would have refused before Redis was asked, blanks between
-- ARGV[11] identity of the ledger   ARGV[12] position in it that the mirror must have reached
-- ARGV[13] a consent that comes with the start: JSON, or empty
-- ARGV[14] name under which its payment can be found, and ARGV[15] that of its reference; empty for none
-- ARGV[16] the traceparent that the message carries on, empty without traces
-- ARGV[17] what may be pending for the number and purpose: * for anything, empty for nothing, or an identifier
-- ARGV[18] which keys come before the number's: 2 for the user's, and 1 for the evidence
-- ARGV[19] when the earlier approval is too old, in milliseconds; empty where the purpose needs none
-- ARGV[20] identifier of the request, empty outside the API
-- ARGV[21] why the user in another bucket lets it not pass, empty for nothing   ARGV[22] the last lift or erasure that is known there
-- What does not change from start to start is in the plan (see `CompiledPlan`).
-- Derives: the record of the first start, from the idempotency key (same hash tag), and those of the number's last verifications,
-- from its state (same hash tag); what the evidence rests on (same hash tag)
-- Returns one of: {'started', now, quota, quota used, quota reset, rules that only record} {'replayed', now, remembered, record} {'mismatch'} {'pending', identifier}
--                 {'withheld', by what: mirror-behind, frozen, suppressed, consent-required, consent-outdated} {'step-up'} {'events-full'} {'backlog-full'}
--                 {'human-check-required', decision, rule, wait}
--                 {'refused', decision, rule, wait, quota, quota used, quota reset}
-- include clock fence rows counters limits number subjects targets buckets conversions rule_hits spending failure_alarm
-- include approvals newcomers fraud guard streams idempotency record mirror evidence deliveries

local remembered = idempotency.find(KEYS[7], ARGV[2])
if remembered == 'mismatch' then return { 'mismatch' } end
if remembered then
  return { 'replayed', now, fence.apply(remembered), record.read_all(redis.call('HGET', KEYS[7], 'record')) }
end

local further = tonumber(ARGV[18])
local subjects_at, user = 11 + further, further > 1 and { key = KEYS[11], verifications = KEYS[12] }
if ARGV[17] ~= '*' then
  local state = number.read(KEYS[subjects_at], redis.call('GET', KEYS[subjects_at]), plan.application)
  local last = record.newest(state, string.sub(KEYS[1], 1, -#ARGV[1] - 1), plan.application, plan.purpose)
  if last and last.id ~= ARGV[17] and last.status == 'pending' and now < last.expires then return { 'pending', last.id } end
end

local pseudonym, block, network, wide, provider, device, flags, price, range = -- the order of SendAttempt.encoded
  string.match(ARGV[4], '^([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|(%d+)|(%d*)$')
local one = { key = KEYS[1], id = ARGV[1], application = plan.application, purpose = plan.purpose,
  country = plan.country, channel = plan.channel, policy = plan.policy, locale = ARGV[3], pseudonym = pseudonym,
  context = device, block = block, network = network, wide = wide, provider = provider, transaction = ARGV[6],
  sealed_number = ARGV[7], mask = ARGV[8], details = ARGV[9], status = 'pending', checks = 0, sends = 1, generation = 0,
  created = now, last_send = now, expires = now + plan.life, fence = fence.at or 0, start = '',
  lifted = math.huge } -- no freeze that was lifted before ends what starts now
if user then one.basis = mirror.basis(user.key) end -- for others not even '': for its 33rd field Lua builds the table anew
local given = ARGV[13] ~= '' and cjson.decode(ARGV[13]).given or nil
local why, position, lifted = mirror.refusal(KEYS[9], KEYS[10], one, ARGV[11], ARGV[12], plan.consent, -1, given)
if not why and ARGV[21] ~= '' then why = ARGV[21] end
if why == 'mirror-behind' then return { 'withheld', why } end
local earlier = evidence.needed(further % 2 == 1 and KEYS[10 + further], plan.application, ARGV[19])
if not earlier then return { 'step-up' } end
if why then return { 'withheld', why } end
if redis.call('XLEN', KEYS[6]) >= plan.unrecorded then return { 'events-full' } end
local full, ahead = streams.is_full(KEYS[2], KEYS[3], plan.outbox, plan.life)
if full then return { 'backlog-full' } end

local sending = guard.read(KEYS, subjects_at, { kind = 'start', about = one, place = plan.place,
  safe = string.find(flags, '+safe', 1, true) ~= nil, passed = string.find(flags, '+checked', 1, true) ~= nil,
  price = tonumber(price), range = range })
for rule in string.gmatch(ARGV[10], '%S+') do
  rule_hits.add(sending.rule_hits, { rule = rule, record_only = true }, 1, 0, 0)
end
local refusal, quota = guard.test(sending)
if refusal then
  one.id = nil -- a refused start has no identifier
  fraud.keep_changes(sending)
  local decision = guard.report(sending, KEYS[8], plan.decisions, plan.age, 'sending', ARGV[4],
    'after', streams.last_entry(KEYS[6]), 'request', ARGV[20])
  if rule_hits.only_ask(sending.rule_hits) and not sending.passed then
    if guard.count_asked(sending) then streams.report(KEYS[6], 'human_check.asked', one, { range = range }) end
    return { 'human-check-required', decision, refusal.rule, refusal.wait }
  end
  return { 'refused', decision, refusal.rule, refusal.wait, quota.amount, quota.used, quota.ttl }
end
guard.count(sending)
guard.report(sending, KEYS[8], plan.decisions, plan.age)

evidence.use(earlier, one.id)
if earlier.basis ~= '' then one.basis = earlier.basis end -- which names the same user
one.ledger, one.lifted, one.consented = tonumber(position), math.max(lifted, earlier.lifted, ARGV[22]), given or 0
one.guard, one.tag = approvals.note(sending), record.stored_tag(ARGV[5])
if ARGV[2] ~= '' then
  one.start = KEYS[7]
  idempotency.remember(KEYS[7], ARGV[2], plan.idempotency, 'record', KEYS[1], 'created', now, 'expires', one.expires,
    'status', 'pending')
  fence.note(KEYS[7])
end
record.create(one, one.expires + plan.grace, deliveries.FIRST, deliveries.first_slot(plan.channel))
if user then record.note_of_user(user.verifications, one.id, plan.of_user) end
if sending.price > 0 then spending.reserve(KEYS[1], 1, 1, sending.price) end
-- As JSON, in which none of these texts needs an escape: to encode a table costs six times as much.
streams.put(KEYS[2], KEYS[3], KEYS[4], KEYS[5], ahead, plan.job .. ',"id":"' .. one.id .. '","trace":"' .. ARGV[16]
  .. string.format('","expires":"%d","queued":"%d"}', one.expires, now))
streams.add(KEYS[6], plan.event .. ',"id":"' .. one.id .. '","pseudonym":"' .. pseudonym .. '","ledger":"' .. position
  .. '","payment":"' .. ARGV[14] .. '","payment_reference":"' .. ARGV[15] .. '","sending":"' .. ARGV[4]
  .. '","request":"' .. ARGV[20] .. '","guard":"' .. one.guard .. string.format('","expires":"%d"}', one.expires))
if given then -- an event of its own, deleted once it is recorded: that of the start stays for days
  streams.report(KEYS[6], 'consent.given', one, { pseudonym = pseudonym, ledger = position, consent = ARGV[13] })
end
return { 'started', now, quota.amount, quota.used + 1, quota.ttl, rule_hits.rules(sending.rule_hits) }
