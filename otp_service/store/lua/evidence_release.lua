-- Gives an earlier approval back that was claimed for a start, which was refused.

if redis.call('HGET', key.evidence, 'started') == arg.verification then redis.call('HDEL', key.evidence, 'started') end
return 'OK'
