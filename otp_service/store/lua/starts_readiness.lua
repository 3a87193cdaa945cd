-- Tells why every start would be refused now. It only reads, but as a function that may write: a server that is full, or
-- takes no writes, refuses it as it would a start.
-- include clock mirror

local reason
for i = key.rest, #KEYS, 2 do
  local closed = mirror.unavailable_reason(KEYS[i], arg.identity, arg.min_sequence)
  if not closed and redis.call('XLEN', KEYS[i + 1]) < tonumber(arg.max_events) then return reply.ready() end
  reason = reason or closed or 'events-full'
end
return reply.unavailable { reason = reason }
