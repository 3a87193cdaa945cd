-- Renews a worker's lease of a share of the buckets, or gives it back.
--
-- KEYS[1] until when the leases of a duty are valid, by worker
-- ARGV[1] the worker   ARGV[2] milliseconds for which its lease is valid from now on; 0 to give it back
-- Returns: {the worker's place among those that have a lease, from 0, or -1; how many these are}
-- include clock

redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], 60000)
local workers = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(workers)
local place = -1
for i, worker in ipairs(workers) do
  if worker == ARGV[1] then place = i - 1 end
end
return { place, #workers }
