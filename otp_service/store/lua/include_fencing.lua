-- How fences are put (see include_fence).
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
