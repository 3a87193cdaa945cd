-- The fence: what was started before it is expired, whatever its record says. What was started since names the fence in its
-- record and its idempotency key. No clock decides: that of a server which took over may be behind the lost one's, and may be
-- set back.
local fence = {}

-- Reads the fence that stands; it belongs to the call at hand. `at` names it and tells since when it stands, false where
-- none does.
function fence.read(key)
  local at = redis.call('HGET', key, 'at')
  fence.at = at and tonumber(at)
end

-- Notes in a new idempotency key behind which fence it was started.
function fence.note(key)
  if fence.at then redis.call('HSET', key, 'fence', fence.at) end
end

-- Tells whether something is of before the fence that stands, by the fence `behind` which it was made, if any.
function fence.hides(behind) return fence.at and behind ~= fence.at end

-- Returns when something expires that says so itself, and behind which fence it was started, if any.
function fence.expiry(expires, behind)
  if not fence.hides(behind) then return expires end
  return math.min(expires, fence.at, now)
end

-- The same for what a key holds, as a flat list: field, value, … Returns the list.
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
