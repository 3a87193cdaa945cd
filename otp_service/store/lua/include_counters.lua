-- Counters of a sliding window in constant memory: the former count fades. Three values of a row: interval, count, former count.
local counters = {}

function counters.value(row, place, window)
  local count, before = row[place + 1], row[place + 2]
  if count + before == 0 then return 0 end
  local passed = math.floor(now / window) - row[place]
  if passed > 1 then return 0 end
  if passed == 1 then count, before = 0, count end
  return count + before * (1 - (now % window) / window)
end

-- A clock that was set back counts on where it was.
function counters.add(row, place, window)
  local interval, present = row[place], math.floor(now / window)
  if present > interval then
    row[place], row[place + 1], row[place + 2] = present, 0, present == interval + 1 and row[place + 1] or 0
  end
  row[place + 1] = row[place + 1] + 1
end
