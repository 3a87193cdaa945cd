-- The fence: what was started before it is expired, whatever its record says, and for some time after it fewer messages may
-- be sent. What was started since names the fence in its record and its idempotency key. No clock decides: that of a server
-- which took over may be behind the lost one's, and may be set back.
local fence = {}

-- Reads the fence that stands; it belongs to the call at hand. `at` names it and tells since when it stands, false where
-- none does; `cautious` is for how many milliseconds yet fewer messages may be sent, 0 or less when that is over.
function fence.read(key)
  local kept = redis.call('HMGET', key, 'at', 'until')
  fence.at, fence.cautious = kept[1] and tonumber(kept[1]), tonumber(kept[2] or 0) - now
end

-- Notes in a new idempotency key behind which fence it was started.
function fence.note(key)
  if fence.at then redis.call('HSET', key, 'fence', fence.at) end
end

-- Returns when something expires that says so itself, and behind which fence it was started, if any.
function fence.expiry(expires, behind)
  if not fence.at or behind == fence.at then return expires end
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

-- Returns how long to wait for what a halved limit refuses: until it is whole again and has room, if that comes first.
function fence.wait(wait, wait_for_whole)
  return math.min(wait, math.max(fence.cautious, wait_for_whole))
end

-- Returns how many messages a limit allows now that allows so many: half of them, at least one, while the fence is new.
function fence.limit(amount)
  return fence.cautious > 0 and math.max(1, math.floor(amount / 2)) or amount
end
