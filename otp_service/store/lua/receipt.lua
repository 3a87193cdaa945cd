-- Records a gateway's later report on a dispatch. It never approves anything.
--
-- KEYS[1] the dispatch   KEYS[2] events
-- ARGV[1] gateway that reports   ARGV[2] status, normalised   ARGV[3] reason, may be empty
-- ARGV[4] greatest length of the events   ARGV[5] their greatest age in milliseconds
-- Derives: the record, from the dispatch (same hash tag)
-- Returns one of: {'not-found'} {'recorded'} {'ignored'}
-- include clock streams record deliveries

local dispatch = redis.call('HMGET', KEYS[1], 'record', 'slot', 'gateway')
if not dispatch[1] or dispatch[3] ~= ARGV[1] then return { 'not-found' } end
if not deliveries.settle(dispatch[1], dispatch[2], ARGV[2], ARGV[3]) then return { 'ignored' } end
local about = record.of(dispatch[1], redis.call('HGET', dispatch[1], 'application'))
streams.report(KEYS[2], ARGV[4], ARGV[5], 'delivery.' .. ARGV[2], about, 'gateway', ARGV[1], 'reason', ARGV[3])
return { 'recorded' }
