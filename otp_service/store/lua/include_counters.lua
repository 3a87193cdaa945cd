-- Counters of a sliding window in constant memory: what was counted in the interval before fades out while the present
-- one grows. A counter is a list: number of the interval, count in it, count in the one before.
local counters = {}
local NOTHING = { 0, 0, 0 }

-- Returns the count at this time; 0 for nil.
function counters.value(state, window)
  if not state then return 0 end
  local interval, count, before = unpack(state)
  local passed = math.floor(now / window) - interval
  if passed > 1 then return 0 end
  if passed == 1 then count, before = 0, count end
  return count + before * (1 - (now % window) / window)
end

-- Returns the counter with one more, a new one for nil. A clock that was set back counts on where it was.
function counters.add(state, window)
  local interval, count, before = unpack(state or NOTHING)
  local present = math.max(math.floor(now / window), interval)
  if present ~= interval then count, before = 0, present == interval + 1 and count or 0 end
  return { present, count + 1, before }
end
