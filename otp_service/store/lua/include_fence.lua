-- The fence: all that began before it is expired. Records and idempotency keys name their fence: a new server's clock may be behind.
local fence = {}

-- Reads the fence of the call: `at` is its name and beginning, false for none.
function fence.read(key)
  local at = redis.call('HGET', key, 'at')
  fence.at = at and tonumber(at)
end

-- Tells whether something made behind a fence, nil for none, is older than the present fence.
function fence.hides(behind) return fence.at and behind ~= fence.at end

function fence.expiry(expires, behind)
  if not fence.hides(behind) then return expires end
  return math.min(expires, fence.at, now)
end

-- The same for a flat list: field, value, …
function fence.apply(list)
  if not fence.at then return list end
  local place, behind
  for i = 1, #list, 2 do
    if list[i] == 'expires' then place = i + 1 end
    if list[i] == 'fence' then behind = tonumber(list[i + 1]) end
  end
  if place then list[place] = string.format('%d', fence.expiry(tonumber(list[place]), behind)) end
  return list
end
