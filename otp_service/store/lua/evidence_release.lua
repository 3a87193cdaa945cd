-- Gives an earlier approval back that was claimed for a start or a check, which was refused.

local kept = redis.call('HMGET', key.evidence, 'started', 'reserved')
if kept[1] == arg.by then redis.call('HDEL', key.evidence, 'started') end
if kept[2] == arg.by then redis.call('HDEL', key.evidence, 'reserved', 'until') end
return 'OK'
