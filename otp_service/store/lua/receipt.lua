-- Records a gateway's later report on a dispatch. It never approves anything.
--
-- KEYS[1] the dispatch   KEYS[2] events   KEYS[3] the mirror's head
-- ARGV[1] gateway that reports   ARGV[2] status, normalised   ARGV[3] reason, may be empty
-- ARGV[4] the gateway's own status, may be empty
-- ARGV[5] '1' when the number's holder told the gateway that they want none
-- ARGV[6] '1' when nothing more is to be tried for the message
-- Derives: the record, from the dispatch (same hash tag)
-- Returns one of: {'not-found'} {'recorded', slot, now, identifier, record} {'ignored', slot, now, identifier, record}
-- include clock fence streams record deliveries

local dispatch = redis.call('HMGET', KEYS[1], 'record', 'slot', 'gateway')
if not dispatch[1] or dispatch[3] ~= ARGV[1] then return { 'not-found' } end
local application = redis.call('HGET', dispatch[1], 'application')
if not application then return { 'not-found' } end
local about = record.read(dispatch[1], application)
if ARGV[6] == '1' then redis.call('HSETNX', dispatch[1], 'after' .. string.match(dispatch[2], '^d(%d+)'), 0) end
local kept, news = deliveries.settle(dispatch[1], dispatch[2], ARGV[2], ARGV[3], ARGV[4], '')
if news then
  streams.report(KEYS[2], 'delivery.' .. ARGV[2], about, 'slot', dispatch[2], 'channel', kept[1],
    'gateway', ARGV[1], 'choice', kept[6], 'reason', ARGV[3], 'raw_status', ARGV[4],
    deliveries.opt_out(dispatch[1], KEYS[3], ARGV[5]))
elseif ARGV[5] == '1' then -- a second report may be the one that tells it
  streams.report(KEYS[2], 'delivery.opted_out', about, 'slot', dispatch[2], 'gateway', ARGV[1],
    deliveries.opt_out(dispatch[1], KEYS[3], ARGV[5]))
end
return { news and 'recorded' or 'ignored', dispatch[2], now, about.id, record.read_all(dispatch[1]) }
