-- How fences are put (see include_fence), and what tells that a server took over, or was restarted.
local fencing = {}

-- Puts a fence in each of some places, all of one name, unlike those that stood there; for `life` milliseconds.
-- Returns the fence's name and beginning.
function fencing.put(places, life)
  local at = now
  for _, place in ipairs(places) do at = math.max(at, (redis.call('HGET', place, 'at') or 0) + 1) end
  for _, place in ipairs(places) do
    redis.call('HSET', place, 'at', at)
    redis.call('PEXPIREAT', place, now + life)
  end
  return at
end

-- Returns what became of a server by what is noted of it at a place, and notes it: 'same', 'moved' (of a cluster: the place came from
-- another shard), 'planned' (a fail-over that nobody has confirmed yet: to wait for) or 'lost' (it may lack what was written last).
-- `shard_id` returns that of its shard; nil without a cluster.
function fencing.meet(place, confirmed, shard_id)
  -- Another after a restart and after each fail-over, planned or not.
  local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  local kept = redis.call('HMGET', place, 'history', 'failover', 'shard')
  if kept[1] == history then return 'same' end
  local shard = shard_id and shard_id()
  local has_moved = kept[3] and kept[3] ~= shard
  if kept[1] and not has_moved and not confirmed and tonumber(kept[2] or 0) > now then return 'planned' end
  redis.call('HSET', place, 'history', history)
  if shard then redis.call('HSET', place, 'shard', shard) end
  redis.call('HDEL', place, 'failover')
  if has_moved then return 'moved' end
  if confirmed or not kept[1] then return 'same' end
  return 'lost'
end
