-- Records that a message is about to be handed to a gateway, if it is still wanted.
--
-- KEYS[1] the record   KEYS[2] the dispatch
-- ARGV[1] application  ARGV[2] number of the message   ARGV[3] generation of its code
-- ARGV[4] greatest number of dispatches of a message   ARGV[5] and following: gateways, the preferred one first
-- Returns one of: {'dropped', reason, slot in which the message still waits or empty}
--                 {'dispatched', now, number of the dispatch, gateway, record}
-- include clock record deliveries

local found = record.of(KEYS[1], ARGV[1], 'generation', 'channel', 'n' .. ARGV[2])
if not found then return { 'dropped', 'gone', '' } end

local made = tonumber(found['n' .. ARGV[2]] or 0)
local last = deliveries.slot(ARGV[2], math.max(made, 1))
local channel, gateway, status = deliveries.read(KEYS[1], last)
if status == 'queued' and gateway ~= '' then
  -- A worker that died during its call left that dispatch open: it may have been sent, nobody knows.
  deliveries.settle(KEYS[1], last, 'unknown', 'interrupted')
  status = 'unknown'
end

local function dropped(reason) return { 'dropped', reason, status == 'queued' and last or '' } end
if found.status ~= 'pending' then return dropped(found.status) end
if now >= tonumber(found.expires) then return dropped('expired') end
if found.generation ~= ARGV[3] then return dropped('superseded') end
if made >= tonumber(ARGV[4]) then return dropped('too_many_dispatches') end

local number = made + 1
local slot = deliveries.slot(ARGV[2], number)
gateway = ARGV[5 + made % (#ARGV - 4)]
redis.call('HSET', KEYS[1], 'n' .. ARGV[2], number, slot, deliveries.queued(channel or found.channel, gateway))
redis.call('HSET', KEYS[2], 'v', '1', 'record', KEYS[1], 'slot', slot, 'gateway', gateway)
redis.call('PEXPIREAT', KEYS[2], now + redis.call('PTTL', KEYS[1]))
return { 'dispatched', now, number, gateway, redis.call('HGETALL', KEYS[1]) }
