-- Takes, keeps or ends the turn to verify the audit chain, unless it is another one's: who was silent may have lost it.
--
-- KEYS[1] whose turn it is
-- ARGV[1] the name of who verifies   ARGV[2] milliseconds for which it keeps its turn; 0 to end it
-- ARGV[3] what is told of it, JSON
-- Returns: 1, or 0 when the turn is another one's

local holder = redis.call('HGET', KEYS[1], 'name')
if holder and holder ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'name', ARGV[1], 'told', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2]) -- 0 deletes it
return 1
