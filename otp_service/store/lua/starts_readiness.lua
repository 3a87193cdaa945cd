-- Tells why every start would be refused now. It is a function that may write, so that a server that takes no writes refuses it too.
-- include clock mirror
local reason
for i = key.rest, #KEYS, 2 do
  local closed = mirror.unavailable_reason(KEYS[i], arg.identity, arg.min_sequence)
  if not closed and redis.call('XLEN', KEYS[i + 1]) < tonumber(arg.max_events) then return reply.ready() end
  reason = reason or closed or 'events-full'
end
return reply.unavailable { reason = reason }
