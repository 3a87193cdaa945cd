-- Lets a call out of a gateway that let it in a moment ago, for it is not made: its turn is free again.
--
-- KEYS[1] the gateway's health   KEYS[2] its calls in flight
-- ARGV[1] identifier of the dispatch
-- Returns: OK

redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('HGET', KEYS[1], 'turn_of') == ARGV[1] then redis.call('HDEL', KEYS[1], 'turn', 'turn_of') end -- nobody came behind it
if redis.call('HGET', KEYS[1], 'probe') == ARGV[1] then redis.call('HDEL', KEYS[1], 'probe', 'probing') end
return 'OK'
