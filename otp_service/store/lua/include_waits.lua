-- Waits that grow with each event in a row. A run is kept for known and for unknown devices, as length and time of the
-- last event: what unknown devices do makes no known one wait.
local waits = {}

-- Returns the milliseconds to wait now for a device of this trust, and the length of its run.
function waits.left(rule, kept, trust)
  local run = kept[trust]
  if not run or now - run[2] >= rule.reset_after then return 0, 0 end
  return math.max(0, run[2] + rule.waits[math.min(run[1], #rule.waits)] - now), run[1]
end

-- Notes one event more.
function waits.add(rule, kept, trust)
  local _, run = waits.left(rule, kept, trust)
  kept[trust] = { run + 1, now }
end
