-- Chooses a gateway and records the call, if the message is still wanted. The mirror's entry comes from the record (same hash tag).
-- include clock fence rows limits number subjects rule_hits spending streams record mirror deliveries
-- include health routing
if not streams.is_held(key.queue, arg.group, arg.entry, arg.consumer) then return reply.lease_lost() end
local verification = record.read(key.record, arg.application)
if not verification then return reply.dropped { reason = 'gone', slot = '', rule = '' } end

local place = key.queue .. '/' .. arg.entry
deliveries.interrupt(key.record, key.events, key.calls, place, verification)
local of_message = redis.call('HMGET', key.record, 'n' .. arg.message, 'from' .. arg.message, 'p' .. arg.message)
local made, after, price = tonumber(of_message[1] or 0), tonumber(of_message[2] or 0), tonumber(of_message[3] or 0)
local last = deliveries.slot(arg.message, math.max(made, 1))
local _, _, status = deliveries.parse(redis.call('HGET', key.record, last))

local function dropped(reason, rule)
  return reply.dropped { reason = reason, slot = status == 'queued' and last or '', rule = rule or '' }
end

if verification.status ~= 'pending' then return dropped(verification.status) end
if now >= verification.expires then return dropped('expired') end
if verification.generation ~= tonumber(arg.generation) then return dropped('superseded') end
if deliveries.is_decided(key.record, arg.message) then return dropped('reported') end
local elsewhere = mirror.elsewhere(verification.basis)
if elsewhere ~= '' and arg.elsewhere == '' then return reply.elsewhere { basis = elsewhere, lifted = verification.lifted } end
local number_key = arg.mirrored .. verification.pseudonym
local why = mirror.refusal(key.mirror, number_key, verification, arg.identity, arg.min_sequence, arg.consent, verification.ledger, nil, arg.elsewhere)
if why == 'mirror-behind' then return reply.mirror_behind() end
if why then return dropped(why) end
local whole = record.read_all(key.record)
local tally = deliveries.tally(whole, arg.message, after)
if tally.sent + tally.delivered > 0 then return dropped('sent') end
if tally.unknown > tonumber(arg.max_ambiguous) then return dropped('too_many_ambiguous') end

local dispatch = made + 1
local slot = deliveries.slot(arg.message, dispatch)
local reserved = price == 0 or redis.call('HEXISTS', key.record, 'r' .. arg.message .. '.' .. dispatch) == 1
local money = not reserved and subjects.read_money(key.application, key.country)
local gateway, choice, needed = routing.choose(routing.read(key.rest, arg.rest, whole, arg.message, arg.channel, after))
if needed then return reply.gateway_needed { gateway = needed.name, last_resort = needed.state.wait and 1 or 0 } end
if money then
  local list = {}
  spending.test(list, money.application, money.country, verification.country, price)
  local first = rule_hits.first(list)
  if first then rule_hits.report(key.decisions, arg.max_decisions, arg.max_age, list, verification, 'dispatch', '') end
  if first and not first.records then return dropped('spend_ceiling', first.rule) end
end

if not gateway and not choice then return dropped('too_many_errors') end
if not gateway then return reply.no_gateway_free { wait = choice, now = now, record = whole } end
if not gateway.state then health.enter(gateway, arg.dispatch, gateway.lease) end

if not reserved then
  if money then spending.settle(money, verification.country, price, now) end
  spending.reserve(key.record, arg.message, dispatch, price)
end
local held = table.concat({ arg.channel, gateway.name, 'queued', now, '', choice, now, '', '', arg.dispatch }, '|')
redis.call('HSET', key.record, 'n' .. arg.message, dispatch, slot, held)
redis.call('HSET', key.calls, place, table.concat({ slot, string.format('%.0f', price), held }, '|')) -- in case this worker dies
redis.call('PEXPIRE', key.calls, arg.max_age)
if tonumber(arg.message) == verification.sends and arg.channel ~= verification.channel then -- the newest message's
  verification.channel = arg.channel
  record.write(verification)
end
redis.call('HSET', key.dispatch, 'v', '1', 'record', key.record, 'slot', slot, 'gateway', gateway.name)
if arg.trace ~= '' then redis.call('HSET', key.dispatch, 'trace', arg.trace) end
redis.call('PEXPIREAT', key.dispatch, now + redis.call('PTTL', key.record))
return reply.dispatched { number = dispatch, gateway = gateway.name, choice = choice, now = now, record = record.read_all(key.record) }
