-- Stores the reference of a message that a gateway accepted, for receipts that name nothing else.
redis.call('SET', key.reference, arg.dispatch, 'PX', arg.life)
local early = redis.call('LRANGE', key.early, 0, -1)
redis.call('DEL', key.early)
return early
