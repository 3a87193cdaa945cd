-- Lists windows that a worker is to sum over the buckets.
if redis.call('SCARD', key.unsummed) < 5000 then redis.call('SADD', key.unsummed, unpack(ARGV, arg.rest)) end
return redis.call('PEXPIRE', key.unsummed, arg.life)
