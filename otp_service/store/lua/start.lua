-- Starts a verification: counted, recorded, queued and reported in one step. A refused start stores only the decision and breaker
-- changes, and counts as a request if it needs a human check. The first start's record comes from the idempotency key, the number's last
-- verifications from its state, revocations from the evidence's basis (same hash tag); claims.py claims in other buckets before.
-- include clock fence rows counters limits number subjects targets buckets conversions rule_hits spending failure_alarm
-- include approvals newcomers fraud guard streams idempotency record mirror evidence
local remembered = idempotency.find(key.idempotency, arg.fingerprint)
if remembered == 'mismatch' then return reply.mismatch() end
if remembered then
  return reply.replayed { now = now, remembered = fence.apply(remembered),
    record = record.read_all(redis.call('HGET', key.idempotency, 'record')) }
end

local further = tonumber(arg.further)
local subjects_at = key.rest + further
local user = further > 1 and { key = KEYS[key.rest], verifications = KEYS[key.rest + 1] }
if arg.allowed_pending ~= '*' then
  local state = number.read(KEYS[subjects_at], redis.call('GET', KEYS[subjects_at]), plan.application)
  local last = record.newest(state, string.sub(key.record, 1, -#arg.id - 1), plan.application, plan.purpose)
  if last and last.id ~= arg.allowed_pending and last.status == 'pending' and now < last.expires then return reply.pending { id = last.id } end
end

local pseudonym, block, ip_prefix, prefix_48, prefix_32, device, flags, price, range = -- the order of SendAttempt.encoded
  string.match(arg.attempt, '^([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|(%d+)|(%d*)$')
local verification = { key = key.record, id = arg.id, application = plan.application, purpose = plan.purpose,
  country = plan.country, channel = plan.channel, policy = plan.policy, locale = arg.locale, pseudonym = pseudonym,
  context = device, block = block, ip_prefix = ip_prefix, prefix_48 = prefix_48, prefix_32 = prefix_32,
  transaction = arg.transaction, sealed_number = arg.destination, mask = arg.mask, details = arg.details, status = 'pending', checks = 0, sends = 1,
  generation = 0, created = now, last_send = now, expires = now + plan.life, fence = fence.at or 0, start = '',
  lifted = math.huge } -- no freeze that was lifted before ends what starts now
if user then verification.basis = mirror.basis(user.key) end -- for others not even '': for its 33rd field Lua builds the table anew
local consented_at = arg.consent ~= '' and cjson.decode(arg.consent).agreed_at or nil
local why, position, lifted = mirror.refusal(key.mirror, key.mirrored, verification, arg.identity, arg.min_sequence, plan.consent, -1, consented_at)
local claimed = evidence.claimed(arg.claimed)
if not why and claimed.refusal ~= '' then why = claimed.refusal end
if why == 'mirror-behind' then return reply.withheld { reason = why } end
local earlier = evidence.needed(further % 2 == 1 and KEYS[key.rest + further - 1], plan.application, arg.earlier_ends, claimed)
if not earlier then return reply.step_up() end
if why then return reply.withheld { reason = why } end
if redis.call('XLEN', key.events) >= plan.unrecorded then return reply.events_full() end
local full, ahead = streams.is_full(key.queue, key.queues, plan.outbox, plan.life)
if full then return reply.backlog_full() end

local attempt = guard.read(KEYS, subjects_at, { kind = 'start', verification = verification, zone = plan.zone,
  allowlisted = string.find(flags, '+safe', 1, true) ~= nil, passed = string.find(flags, '+checked', 1, true) ~= nil,
  price = tonumber(price), range = range })
for rule in string.gmatch(arg.record_only_rules, '%S+') do
  rule_hits.add(attempt.rule_hits, { rule = rule, record_only = true }, 1, 0, 0)
end
local refusal, quota = guard.test(attempt)
if not ARGV[arg.rest] and spending.may_move(attempt.rule_hits) then return reply.share_needed { price = attempt.price } end
if refusal then
  verification.id = nil -- a refused start has no identifier
  fraud.keep_changes(attempt)
  local decision = guard.report(attempt, key.decisions, plan.decisions, plan.age, 'attempt', arg.attempt,
    'after', streams.last_entry(key.events), 'request', arg.request)
  if rule_hits.only_ask(attempt.rule_hits) and not attempt.passed then
    if guard.count_asked(attempt) then streams.report(key.events, 'human_check.asked', verification, { range = range }) end
    return reply.human_check_required { decision = decision, rule = refusal.rule, wait = refusal.wait,
      to_sum = ruleset.sharing and guard.to_sum(attempt) }
  end
  return reply.refused { decision = decision, rule = refusal.rule, wait = refusal.wait, quota_max = quota.amount,
    quota_used = quota.used, quota_reset = quota.ttl, to_sum = ruleset.sharing and guard.to_sum(attempt) }
end
guard.count(attempt)
guard.report(attempt, key.decisions, plan.decisions, plan.age)

evidence.use(earlier, verification.id)
if earlier.basis ~= '' then verification.basis = earlier.basis end -- which names the same user
verification.ledger, verification.lifted, verification.consented = tonumber(position), math.max(lifted, earlier.lifted), consented_at or 0
verification.guard, verification.tag = approvals.note(attempt), record.stored_tag(arg.tag)
if arg.fingerprint ~= '' then
  verification.start = key.idempotency
  idempotency.remember(key.idempotency, arg.fingerprint, plan.idempotency, 'record', key.record, 'created', now, 'expires', verification.expires,
    'status', 'pending')
  if fence.at then redis.call('HSET', key.idempotency, 'fence', fence.at) end
end
record.create(verification, verification.expires + plan.grace, 'd1.1', plan.channel .. '||queued|||')
if user then record.note_of_user(user.verifications, verification.id, plan.of_user) end
if attempt.price > 0 then spending.reserve(key.record, 1, 1, attempt.price) end
-- As JSON, in which no text needs an escape: to encode a table costs six times as much.
streams.put(key.queue, key.queues, key.ready, key.wake, ahead, plan.job .. ',"id":"' .. verification.id .. '","trace":"' .. arg.trace
  .. string.format('","expires":"%d","queued":"%d"}', verification.expires, now))
streams.add(key.events, plan.event .. ',"id":"' .. verification.id .. '","pseudonym":"' .. pseudonym .. '","ledger":"' .. position
  .. '","payment":"' .. arg.payment .. '","payment_reference":"' .. arg.payment_reference .. '","attempt":"' .. arg.attempt
  .. '","request":"' .. arg.request .. '","guard":"' .. verification.guard .. string.format('","expires":"%d"}', verification.expires))
if consented_at then -- an event of its own, deleted once it is recorded: that of the start stays for days
  streams.report(key.events, 'consent.given', verification, { pseudonym = pseudonym, ledger = position, consent = arg.consent })
end
return reply.started { now = now, quota_max = quota.amount, quota_used = quota.used + 1, quota_reset = quota.ttl,
  record_only_rules = rule_hits.rules(attempt.rule_hits), to_sum = ruleset.sharing and guard.to_sum(attempt) }
