-- Forgets what holds messages to a number back: the times of its messages and wrong codes, or its waits and locks. What it was
-- approved for stays.
--
-- KEYS[1] the number
-- ARGV[1] windows or waits   ARGV[2] and following: applications
-- Returns: of how many windows, or waits, there was anything
-- include clock limits number

local forgotten = 0
for _, application in ipairs({ unpack(ARGV, 2) }) do
  local row = redis.call('GET', KEYS[1])
  if not row then return forgotten end
  local state = number.read(KEYS[1], row, application)
  forgotten = forgotten + (ARGV[1] == 'windows' and number.forget_windows or number.forget_waits)(state)
  number.write(state)
end
return forgotten
