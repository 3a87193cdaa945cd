-- Now, by Redis' own clock: one clock for all hosts, whatever theirs say. It is read when a script begins.
-- The microseconds are padded: '1.5' and '1.000005' must not be confused.
local now, stamp
local clock = {}

function clock.read()
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) -- milliseconds
  stamp = string.format('%s.%06d', time[1], tonumber(time[2])) -- seconds, as the limits library writes them
end
