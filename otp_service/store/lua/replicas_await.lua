-- Changes nothing: replicas that are waited for after it have all that was written before, over any connection.

return redis.call('EXISTS', key.any_key)
