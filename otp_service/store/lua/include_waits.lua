-- Waits that grow with each event in a row. A run is kept for each lane, of those who are known and of strangers, as
-- length|time of the last event|0: what strangers do makes nobody wait who is known.
local waits = {}

-- Returns the milliseconds that a lane has to wait now, and the length of its run.
function waits.left(rule, kept, lane)
  local run, last = states.three(kept[lane])
  if run == 0 or now - last >= rule.forgotten then return 0, 0 end
  return math.max(0, last + rule.waits[math.min(run, #rule.waits)] - now), run
end

-- Notes one event more.
function waits.add(rule, kept, lane)
  local _, run = waits.left(rule, kept, lane)
  kept[lane] = string.format('%d|%d|0', run + 1, now)
end
