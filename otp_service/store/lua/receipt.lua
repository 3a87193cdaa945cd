-- Records a gateway's later report on a dispatch. It never approves anything.
--
-- KEYS[1] the dispatch   KEYS[2] events   KEYS[3] the mirror's head
-- ARGV[1] gateway that reports   ARGV[2] status, normalised   ARGV[3] reason, may be empty
-- ARGV[4] the gateway's own status, may be empty
-- ARGV[5] '1' when the number's holder told the gateway that they want none
-- ARGV[6] '1' when nothing more is to be tried for the message
-- ARGV[7] '1' when the gateway gave back what the call cost
-- Derives: the record, from the dispatch (same hash tag)
-- Returns one of: {'not-found'} {'recorded', slot, now, identifier, record, traceparent of the dispatch or empty}
--                 {'ignored', and the same}
-- include clock fence streams record deliveries

local dispatch = redis.call('HMGET', KEYS[1], 'record', 'slot', 'gateway', 'trace')
if not dispatch[1] or dispatch[3] ~= ARGV[1] then return { 'not-found' } end
local about = record.read(dispatch[1])
if not about then return { 'not-found' } end
if ARGV[6] == '1' then redis.call('HSETNX', dispatch[1], 'after' .. string.match(dispatch[2], '^d(%d+)'), 0) end
local kept, news = deliveries.settle(dispatch[1], dispatch[2], ARGV[2], ARGV[3], ARGV[4], '')
local values = { slot = dispatch[2], gateway = ARGV[1], dispatch = string.match(KEYS[1], '[^:]+$') }
if ARGV[5] == '1' then deliveries.opt_out(values, about, KEYS[3]) end
if news then
  if ARGV[7] == '1' then values.cost = '0' end
  values.channel, values.choice, values.reason, values.raw_status = kept[1], kept[6], ARGV[3], ARGV[4]
  streams.report(KEYS[2], 'delivery.' .. ARGV[2], about, values)
elseif ARGV[5] == '1' then -- a second report may be the one that tells it
  streams.report(KEYS[2], 'delivery.opted_out', about, values)
end
return { news and 'recorded' or 'ignored', dispatch[2], now, about.id, record.read_all(dispatch[1]), dispatch[4] or '' }
