-- Counters of a sliding window in constant memory: what was counted in the interval before fades out while the present
-- one grows. A counter is three values of a row: number of the interval, count in it, count in the one before.
local counters = {}

-- Returns the count at this time.
function counters.value(values, place, window)
  local interval, count, before = values[place], values[place + 1], values[place + 2]
  local passed = math.floor(now / window) - interval
  if passed > 1 then return 0 end
  if passed == 1 then count, before = 0, count end
  return count + before * (1 - (now % window) / window)
end

-- Counts one more. A clock that was set back counts on where it was.
function counters.add(values, place, window)
  local interval, count, before = values[place], values[place + 1], values[place + 2]
  local present = math.max(math.floor(now / window), interval)
  if present ~= interval then count, before = 0, present == interval + 1 and count or 0 end
  values[place], values[place + 1], values[place + 2] = present, count + 1, before
end
