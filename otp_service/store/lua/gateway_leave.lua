-- Lets a call out of a gateway that let it in a moment ago, since it is not made: its turn is free again.
redis.call('ZREM', key.in_flight, arg.dispatch)
if redis.call('HGET', key.health, 'turn_of') == arg.dispatch then redis.call('HDEL', key.health, 'turn', 'turn_of') end -- the last to enter
if redis.call('HGET', key.health, 'probe') == arg.dispatch then redis.call('HDEL', key.health, 'probe', 'probing') end
return 'OK'
