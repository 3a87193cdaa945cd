-- As `server_meet`, for a bucket of a cluster: fences it where a replica of its shard took over, or its server was restarted. One that
-- came from another shard lost nothing (MIGRATESLOTS): what is known of its server goes on. Each connection calls it before it asks
-- for anything of the bucket.
--
-- KEYS[1] what is noted of the bucket's server   KEYS[2] the fence   KEYS[3] the mirror's head
-- ARGV[1], ARGV[2] as `fence_put` takes them   ARGV[3] '1' to confirm that nothing was lost
-- Returns: {'same'}, {'planned'}: wait, or {'fenced', now, the fence's name and beginning, until when fewer messages may
-- be sent}
-- include clock fencing mirror

local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local kept = redis.call('HMGET', KEYS[1], 'history', 'failover', 'shard')
if kept[1] == history then return { 'same' } end
local shard, confirmed = redis.call('CLUSTER', 'MYSHARDID'), ARGV[3] == '1'
local has_moved = kept[3] and kept[3] ~= shard
if kept[1] and not has_moved and not confirmed and tonumber(kept[2] or 0) > now then return { 'planned' } end
redis.call('HSET', KEYS[1], 'history', history, 'shard', shard)
redis.call('HDEL', KEYS[1], 'failover')
if has_moved and redis.call('HEXISTS', KEYS[3], 'server') == 1 then
  redis.call('HSET', KEYS[3], 'server', mirror.server_name())
end
if confirmed or has_moved or not kept[1] then return { 'same' } end
return { 'fenced', unpack(fencing.put({ KEYS[2] }, tonumber(ARGV[1]), tonumber(ARGV[2]))) }
