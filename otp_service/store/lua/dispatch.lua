-- Records that a message is about to be handed to a gateway, if it is still wanted.
--
-- KEYS[1] the record   KEYS[2] the dispatch
-- ARGV[1] application  ARGV[2] number of the message   ARGV[3] generation of its code
-- ARGV[4] greatest number of dispatches of a message   ARGV[5] and following: gateways, the preferred one first
-- Returns one of: {'dropped', reason} {'dispatched', now, number of the dispatch, gateway, record}
-- include clock record

local found = record.of(KEYS[1], ARGV[1], 'generation', 'channel')
if not found then return { 'dropped', 'gone' } end
if found.status ~= 'pending' then return { 'dropped', found.status } end
if now >= tonumber(found.expires) then return { 'dropped', 'expired' } end
if found.generation ~= ARGV[3] then return { 'dropped', 'superseded' } end

local made = tonumber(redis.call('HGET', KEYS[1], 'n' .. ARGV[2]) or 0)
if made >= tonumber(ARGV[4]) then return { 'dropped', 'too_many_dispatches' } end

-- A worker that died during its call left that dispatch open: it may have been sent, nobody knows.
local last = 'd' .. ARGV[2] .. '.' .. made
local channel, gateway, status = string.match(redis.call('HGET', KEYS[1], last) or '', '^(.-)|(.-)|(.-)|')
if status == 'queued' then
  redis.call('HSET', KEYS[1], last, channel .. '|' .. gateway .. '|unknown|' .. now .. '|interrupted')
end

local number = made + 1
gateway = ARGV[5 + made % (#ARGV - 4)]
channel = string.match(redis.call('HGET', KEYS[1], 'd' .. ARGV[2] .. '.1') or found.channel, '^[^|]+')
redis.call('HSET', KEYS[1], 'n' .. ARGV[2], number,
  'd' .. ARGV[2] .. '.' .. number, channel .. '|' .. gateway .. '|queued|' .. now .. '|')
redis.call('HSET', KEYS[2], 'v', '1', 'record', KEYS[1], 'slot', 'd' .. ARGV[2] .. '.' .. number, 'gateway', gateway)
redis.call('PEXPIREAT', KEYS[2], now + redis.call('PTTL', KEYS[1]))
return { 'dispatched', now, number, gateway, redis.call('HGETALL', KEYS[1]) }
