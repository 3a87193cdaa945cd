-- Tells what is kept of a number, for those who look. Changes nothing.
--
-- KEYS[1] the number
-- ARGV[1] and following: applications
-- Returns: {now, its last verifications as text, times of its last messages in milliseconds, newest first, and of the wrong codes for
-- it in each application}
-- include clock limits number

local row = redis.call('GET', KEYS[1])
local state = number.read(KEYS[1], row, '')
local answer = { now, state.recent, number.times(state.sends) }
for _, application in ipairs({ unpack(ARGV, 1) }) do
  answer[#answer + 1] = number.times(number.read(KEYS[1], row, application).wrong)
end
return answer
