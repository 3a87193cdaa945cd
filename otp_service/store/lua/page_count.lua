-- Counts a request of a hosted page in its minute, by where it comes from.
--
-- KEYS[1] requests of the network
-- ARGV[1] how many may pass   ARGV[2] milliseconds of a minute
-- Returns: milliseconds to wait; 0 when it may pass

local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if count <= tonumber(ARGV[1]) then return 0 end
return math.max(1, redis.call('PTTL', KEYS[1]))
