-- How fences are put (see include_fence).
local fencing = {}

-- Puts a new fence, unlike the former ones, in all places for `life` milliseconds. Returns its name, which is its beginning.
function fencing.put(places, life)
  local at = now
  for _, place in ipairs(places) do at = math.max(at, (redis.call('HGET', place, 'at') or 0) + 1) end
  for _, place in ipairs(places) do
    redis.call('HSET', place, 'at', at)
    redis.call('PEXPIREAT', place, now + life)
  end
  return at
end
