-- Tells why every start would be refused now. It only reads, but as a function that may write: a server that is full, or
-- takes no writes, refuses it as it would a start.
--
-- KEYS[1] the mirror's head    KEYS[2] and following: the events of all buckets
-- ARGV[1] identity of the ledger   ARGV[2] position in it that the mirror must have reached
-- ARGV[3] events that may wait to be recorded; from then on nothing is accepted
-- Returns: the reason; nil when there is none
-- include clock mirror

local why = mirror.closed_reason(KEYS[1], ARGV[1], ARGV[2])
if why then return why end
for _, events in ipairs({ unpack(KEYS, 2) }) do
  if redis.call('XLEN', events) < tonumber(ARGV[3]) then return nil end
end
return 'events-full'
