-- Tells what a check of a factor needs before it.
--
-- KEYS[1] what the mirror says of the user   KEYS[2] the enrolment, while it waits for its first code
-- ARGV[1] the factor
-- Returns: {now, the active factor, packed; the enrolled one, packed; its sealed label}
-- include clock

local pending = redis.call('HMGET', KEYS[2], 'factor', 'label')
return { now, redis.call('HGET', KEYS[1], 't:' .. ARGV[1]), pending[1], pending[2] }
