-- The time of Redis, one clock for all hosts, read when a script begins: `now` in whole milliseconds, `exact` with microseconds.
local now, exact
local clock = { WRONG = 3600000 } -- what is so much later than now was written while the clock was ahead: it counts no more

function clock.read()
  local time = redis.call('TIME')
  exact = time[1] * 1000 + time[2] / 1000
  now = math.floor(exact)
end
