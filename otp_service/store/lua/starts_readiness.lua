-- Tells why every start would be refused now. It only reads, but as a function that may write: a server that is full, or
-- takes no writes, refuses it as it would a start.
--
-- KEYS: the mirror's head and the events of each bucket
-- ARGV[1] identity of the ledger   ARGV[2] position in it that the mirror must have reached
-- ARGV[3] events that may wait to be recorded; from then on nothing is accepted
-- Returns: the reason; nil when there is none
-- include clock mirror

local why
for i = 1, #KEYS, 2 do
  local closed = mirror.unavailable_reason(KEYS[i], ARGV[1], ARGV[2])
  if not closed and redis.call('XLEN', KEYS[i + 1]) < tonumber(ARGV[3]) then return nil end
  why = why or closed or 'events-full'
end
return why
