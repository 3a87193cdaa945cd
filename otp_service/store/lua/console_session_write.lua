-- Writes a field of a session, unless it is over: a key that is made here would never expire.
--
-- KEYS[1] session
-- ARGV[1] field   ARGV[2] value
-- Returns: 1 when it was written, else 0

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
