-- Counts a request of a hosted page in its minute, by network.
local count = redis.call('INCR', key.requests)
if count == 1 then redis.call('PEXPIRE', key.requests, arg.window) end
if count <= tonumber(arg.max_requests) then return 0 end
return math.max(1, redis.call('PTTL', key.requests))
