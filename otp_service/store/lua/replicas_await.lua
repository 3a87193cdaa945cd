-- Changes nothing: replicas that are waited for after it have all that was written before, by whomever.
--
-- KEYS[1] a key of the server
-- Returns: 1 where it is there, else 0

return redis.call('EXISTS', KEYS[1])
