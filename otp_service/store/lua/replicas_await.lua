-- Changes nothing: replicas that are waited for after it have all earlier writes, of any connection.
return redis.call('EXISTS', key.any_key)
