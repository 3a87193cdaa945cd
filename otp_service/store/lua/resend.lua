-- Sends a verification's code again, the same or the next generation. Life and guesses stay. Revocations come from its basis (same tag).
-- include clock fence rows counters limits number subjects targets buckets conversions rule_hits spending failure_alarm
-- include approvals newcomers fraud guard streams idempotency record mirror deliveries
local verification = record.read(key.record, arg.application)
if not verification then return reply.not_found() end
local remembered = idempotency.find(key.idempotency, arg.fingerprint)
if remembered == 'mismatch' then return reply.mismatch() end
if remembered then
  return reply.queued { now = now, record = record.read_all(key.record), quota_max = 0, quota_used = 0, quota_reset = 0,
    record_only_rules = '' }
end

local status = record.status(verification)
if status ~= 'pending' then return reply.already_final { status = status } end
local sends, falls_back_from = verification.sends, tonumber(arg.falls_back_from) -- 0 for a caller's
if sends >= tonumber(verification.max_sends) then return reply.no_sends_left() end

local delay, place_of_delay = 0, 0
for seconds in string.gmatch(verification.resend_delays, '%d+') do
  place_of_delay = place_of_delay + 1
  if place_of_delay <= sends then delay = tonumber(seconds) * 1000 end -- the last one repeats
end
local wait = verification.last_send + delay - now
if wait > 0 and falls_back_from == 0 then return reply.too_soon { wait = wait } end
if verification.generation ~= tonumber(arg.generation) or (falls_back_from > 0 and falls_back_from ~= sends) then return reply.conflict() end
if falls_back_from > 0 and deliveries.tally(redis.call('HGETALL', key.record), arg.falls_back_from, 0).delivered > 0 then
  return reply.conflict() -- another call for the message did arrive
end
if falls_back_from > 0 and redis.call('HGET', key.record, 'n' .. arg.falls_back_from) ~= arg.after_dispatch then return reply.conflict() end
local elsewhere = mirror.elsewhere(verification.basis)
if elsewhere ~= '' and arg.elsewhere == '' then return reply.elsewhere { basis = elsewhere, lifted = verification.lifted } end
local why = mirror.refusal(key.mirror, key.mirrored, verification, arg.identity, arg.min_sequence, arg.consent, verification.ledger, nil, arg.elsewhere)
if why == 'canceled' then return reply.already_final { status = why } end
if why then return reply.withheld { reason = why } end
if redis.call('XLEN', key.events) >= tonumber(arg.max_events) then return reply.events_full() end
local full, ahead = streams.is_full(key.queue, key.queues, tonumber(arg.max_queue), verification.expires - now)
if full then return reply.backlog_full() end

local attempt = guard.read({ key.number, key.application, key.country, key.block }, 1, { kind = falls_back_from == 0 and 'resend' or 'fallback', verification = verification,
  zone = approvals.has(verification, 'h') and 'home' or 'abroad', allowlisted = approvals.has(verification, 's'), price = tonumber(arg.price),
  passed = approvals.has(verification, 'q'), range = string.match(verification.guard, '^%a*(%d*)') })
local refusal, quota = guard.test(attempt)
if not ARGV[arg.rest] and spending.may_move(attempt.rule_hits) then return reply.share_needed { price = attempt.price } end
if refusal then
  fraud.keep_changes(attempt)
  local decision = guard.report(attempt, key.decisions, arg.max_decisions, arg.max_age, 'price', arg.price, 'after', streams.last_entry(key.events),
    'request', arg.request)
  return reply.refused { decision = decision, rule = refusal.rule, wait = refusal.wait, quota_max = quota.amount,
    quota_used = quota.used, quota_reset = quota.ttl, to_sum = ruleset.sharing and guard.to_sum(attempt) }
end
guard.count(attempt)
guard.report(attempt, key.decisions, arg.max_decisions, arg.max_age)

sends = sends + 1
verification.sends, verification.last_send, verification.channel = sends, now, arg.channel
verification.guard = (verification.guard == '' and '.' or verification.guard) .. attempt.counted
if arg.next_tag ~= '' then verification.generation, verification.tag = verification.generation + 1, record.stored_tag(arg.next_tag) end
record.write(verification)
redis.call('HSET', key.record, deliveries.slot(sends, 1), string.format('%s||queued|%d||', arg.channel, now))
if attempt.price > 0 then spending.reserve(key.record, sends, 1, attempt.price) end
if falls_back_from > 0 then redis.call('HSET', key.record, 'after' .. arg.falls_back_from, sends) end -- whoever has that one stops
idempotency.remember_with(key.record, key.idempotency, arg.fingerprint)
streams.put(key.queue, key.queues, key.ready, key.wake, ahead, cjson.encode({ v = '1', id = verification.id,
  application = verification.application, purpose = verification.purpose, country = verification.country, channel = arg.channel, message = sends,
  generation = verification.generation, expires = verification.expires, queued = now, trace = arg.trace }))
streams.report(key.events, 'verification.resent', verification,
  { channel = arg.channel, falls_back_from = arg.falls_back_from, price = arg.price, guard = verification.guard,
    request = arg.request ~= '' and arg.request or nil })
return reply.queued { now = now, record = record.read_all(key.record), quota_max = quota.amount,
  quota_used = quota.used + 1, quota_reset = quota.ttl, record_only_rules = rule_hits.rules(attempt.rule_hits),
  to_sum = ruleset.sharing and guard.to_sum(attempt) }
