-- Tells all that is kept of a number, or an application's user, for its holder. Changes nothing.
--
-- KEYS[1] the number
-- ARGV[1] what the names of devices begin with that are told, empty for all   ARGV[2] and following: applications
-- Returns: {when it was approved last, 0 for never; when each device was; times of its last messages}, and for each application
-- {when a device of it was approved last, times of messages to its known devices and of wrong codes, until when it is locked}
-- include clock limits number

local row, answer = redis.call('GET', KEYS[1]), {}
for _, application in ipairs({ unpack(ARGV, 2) }) do
  local whole, own = number.shown(number.read(KEYS[1], row, application), ARGV[1])
  answer[1] = whole
  answer[#answer + 1] = own
end
return answer
