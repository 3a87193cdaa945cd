-- Records that a message is about to be handed to a gateway, and to which, if it is still wanted.
--
-- KEYS[1] the record   KEYS[2] the dispatch   KEYS[3] queue of the outbox   KEYS[4] decisions
-- KEYS[5] the mirror's head   KEYS[6] events   KEYS[7] calls that are under way
-- KEYS[8] application   KEYS[9] country   KEYS[10] and following, where they are in this slot: for each gateway of the route, the preferred
-- one first, its health and its calls in flight
-- ARGV[1] application  ARGV[2] number of the message   ARGV[3] generation of its code   ARGV[4] channel
-- ARGV[5] how many dispatches of a message may be ones that may have been sent although they failed, if more are to follow
-- ARGV[6] identifier of the dispatch
-- ARGV[7] consumer group   ARGV[8] consumer   ARGV[9] entry in the queue
-- ARGV[10] greatest length of the decisions   ARGV[11] their greatest age, and that of calls, in milliseconds
-- ARGV[12] identity of the ledger   ARGV[13] place that it is known to have come to
-- ARGV[14] which consent is needed: recorded, off   ARGV[15] beginning of the keys of what the mirror says of numbers
-- ARGV[16] the traceparent of the dispatch, empty without traces
-- ARGV[17] and following, for each gateway: name; messages a second and calls in flight, 0 for any; milliseconds that
-- a call may take; called, since the job was taken, or whether this worker has room for a call: free, full (the message waits), silent (the
-- next gateway is called). Where it is in another slot what was found there stands for the messages a second (see gateway_enter), empty
-- before it was asked
-- Derives: what the mirror says of the number, from the record's pseudonym, and what else it rests on (same hash tag)
-- Returns one of: {'lease-lost'} (another worker has the job by now)
--                 {'mirror-behind'} (the mirror of the ledger: it may be asked again)
--                 {'elsewhere', a gateway, 1 where that is the last resort} (to be asked for again, with what the gateway says)
--                 {'dropped', reason, slot in which the message still waits or empty, rule that refused it or empty}
--                 {'no-gateway-free', now, milliseconds until a gateway may be free or -1, record}
--                 {'dispatched', now, number of the dispatch, gateway, choice, record}
-- include clock fence rows limits number subjects rule_hits spending streams record mirror deliveries
-- include health routing

if not streams.is_held(KEYS[3], ARGV[7], ARGV[9], ARGV[8]) then return { 'lease-lost' } end
local found = record.read(KEYS[1], ARGV[1])
if not found then return { 'dropped', 'gone', '', '' } end

local place = KEYS[3] .. '/' .. ARGV[9]
deliveries.interrupt(KEYS[1], KEYS[6], KEYS[7], place, found)
local of_message = redis.call('HMGET', KEYS[1], 'n' .. ARGV[2], 'from' .. ARGV[2], 'p' .. ARGV[2])
local made, after, price = tonumber(of_message[1] or 0), tonumber(of_message[2] or 0), tonumber(of_message[3] or 0)
local last = deliveries.slot(ARGV[2], math.max(made, 1))
local _, _, status = deliveries.parse(redis.call('HGET', KEYS[1], last))

local function dropped(reason, rule) return { 'dropped', reason, status == 'queued' and last or '', rule or '' } end
if found.status ~= 'pending' then return dropped(found.status) end
if now >= found.expires then return dropped('expired') end
if found.generation ~= tonumber(ARGV[3]) then return dropped('superseded') end
if deliveries.is_decided(KEYS[1], ARGV[2]) then return dropped('reported') end
local number_key = ARGV[15] .. found.pseudonym
local why = mirror.refusal(KEYS[5], number_key, found, ARGV[12], ARGV[13], ARGV[14], found.ledger)
if why == 'mirror-behind' then return { 'mirror-behind' } end
if why then return dropped(why) end
local whole = record.read_all(KEYS[1])
local tally = deliveries.tally(whole, ARGV[2], after)
if tally.sent + tally.delivered > 0 then return dropped('sent') end
if tally.unknown > tonumber(ARGV[5]) then return dropped('too_many_ambiguous') end

local dispatch = made + 1
local slot = deliveries.slot(ARGV[2], dispatch)
local reserved = price == 0 or redis.call('HEXISTS', KEYS[1], 'r' .. ARGV[2] .. '.' .. dispatch) == 1
local money = not reserved and subjects.read_money(KEYS[8], KEYS[9])
local one, choice, unasked = routing.choose(routing.read(10, 17, whole, ARGV[2], ARGV[4], after))
if unasked then return { 'elsewhere', unasked.name, unasked.found.wait and 1 or 0 } end
if money then
  local list = {}
  spending.test(list, money.application, money.country, found.country, price)
  local first = rule_hits.first(list)
  if first then rule_hits.report(KEYS[4], ARGV[10], ARGV[11], list, found, 'dispatch', '') end
  if first and not first.records then return dropped('spend_ceiling', first.rule) end
end

if not one and not choice then return dropped('too_many_errors') end
if not one then return { 'no-gateway-free', now, choice, whole } end
if not one.found then health.enter(one, ARGV[6], one.lease) end

if not reserved then
  if money then spending.settle(money, found.country, price, now) end
  spending.reserve(KEYS[1], ARGV[2], dispatch, price)
end
local held = deliveries.new_slot(ARGV[4], one.name, choice, ARGV[6])
redis.call('HSET', KEYS[1], 'n' .. ARGV[2], dispatch, slot, held)
deliveries.open(KEYS[7], place, ARGV[11], slot, price, held)
if tonumber(ARGV[2]) == found.sends and ARGV[4] ~= found.channel then -- the newest message's
  found.channel = ARGV[4]
  record.write(found)
end
redis.call('HSET', KEYS[2], 'v', '1', 'record', KEYS[1], 'slot', slot, 'gateway', one.name)
if ARGV[16] ~= '' then redis.call('HSET', KEYS[2], 'trace', ARGV[16]) end
redis.call('PEXPIREAT', KEYS[2], now + redis.call('PTTL', KEYS[1]))
return { 'dispatched', now, dispatch, one.name, choice, record.read_all(KEYS[1]) }
