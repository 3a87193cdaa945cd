-- Forgets what holds messages to a number back: the times of its messages and wrong codes, or its waits and locks. What it was
-- approved for stays.
--
-- KEYS[1] the number
-- ARGV[1] windows or waits   ARGV[2] and following: applications
-- Returns: of how many windows, or waits, there was anything
-- include clock limits number

local forgotten = 0
for place, application in ipairs({ unpack(ARGV, 2) }) do
  local row = redis.call('GET', KEYS[1])
  if not row then return forgotten end
  local state = number.read(KEYS[1], row, application)
  if ARGV[1] == 'windows' then
    forgotten = forgotten + number.forget_windows(state, place == 1)
  else
    forgotten = forgotten + number.forget_waits(state, place == 1)
  end
  number.write(state, redis.call('PTTL', KEYS[1]))
end
return forgotten
