-- Gives an earlier approval back that was claimed for a start or a check, which was refused.
local stored = redis.call('HMGET', key.evidence, 'started', 'reserved')
if stored[1] == arg.by then redis.call('HDEL', key.evidence, 'started') end
if stored[2] == arg.by then redis.call('HDEL', key.evidence, 'reserved', 'until') end
return 'OK'
