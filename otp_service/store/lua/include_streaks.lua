-- Waits that grow with each event in a row. A streak is two values: its length, and the time of its last event. There is one
-- of known and one of unknown devices: what unknown devices do makes no known one wait.
local streaks = {}

-- Returns the milliseconds to wait now, and the length of the streak.
function streaks.wait(rule, length, last)
  if length == 0 then return 0, 0 end -- one that is over is over for longer than any wait
  return math.max(0, last + rule.waits[math.min(length, #rule.waits)] - now), length
end

-- Returns the length of a streak with one event more.
function streaks.longer(rule, length, last)
  return (now - last >= rule.reset_after and 0 or length) + 1
end
