-- As `server_meet`, for a bucket of a cluster: fences it where a replica of its shard took over, or its server was restarted. One that
-- came from another shard lost nothing (MIGRATESLOTS): what is known of its server goes on. Each connection calls it before it asks
-- for anything of the bucket.
--
-- KEYS[1] what is noted of the bucket's server   KEYS[2] the fence   KEYS[3] the mirror's head
-- ARGV[1] as `fence_put` takes it   ARGV[2] '1' to confirm that nothing was lost
-- Returns: 'same', 'planned': wait, or 'fenced'
-- include clock fencing mirror

local what = fencing.meet(KEYS[1], ARGV[2] == '1', function() return redis.call('CLUSTER', 'MYSHARDID') end)
if what == 'moved' and redis.call('HEXISTS', KEYS[3], 'server') == 1 then
  redis.call('HSET', KEYS[3], 'server', mirror.server_name())
end
if what == 'moved' then return 'same' end
if what ~= 'lost' then return what end
fencing.put({ KEYS[2] }, tonumber(ARGV[1]))
return 'fenced'
