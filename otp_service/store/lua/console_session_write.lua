-- Writes a field of a session, unless it has ended: a key that is made here would never expire.
if redis.call('EXISTS', key.session) == 0 then return 0 end
redis.call('HSET', key.session, arg.field, arg.value)
return 1
