-- Renews a worker's lease of a share of the buckets, or ends it.
-- include clock
redis.call('ZADD', key.leases, now + arg.life, arg.worker)
redis.call('ZREMRANGEBYSCORE', key.leases, '-inf', now)
redis.call('PEXPIRE', key.leases, 60000)
local workers = redis.call('ZRANGE', key.leases, 0, -1)
table.sort(workers)
local place = -1
for i, worker in ipairs(workers) do
  if worker == arg.worker then place = i - 1 end
end
return reply.lease_renewed { place = place, workers = #workers }
