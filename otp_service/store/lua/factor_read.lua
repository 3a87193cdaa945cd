-- Reads what a check of a factor needs before it.
-- include clock
local pending = redis.call('HMGET', key.enrolment, 'factor', 'label')
local active = redis.call('HGET', key.mirrored, 't:' .. arg.factor)
return reply.factor_read { now = now, active = active, pending = pending[1], label = pending[2] }
