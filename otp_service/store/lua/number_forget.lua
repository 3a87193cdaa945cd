-- Forgets what a number, or an application's user, is known by: approvals and devices. What counts messages and wrong codes stays.
--
-- KEYS[1] the number
-- ARGV[1] what the names of the devices begin with that are forgotten, empty for all   ARGV[2] and following: applications
-- Returns: whether there was anything
-- include clock limits number

local row = redis.call('GET', KEYS[1])
if not row then return 0 end
for _, application in ipairs({ unpack(ARGV, 2) }) do
  local state = number.read(KEYS[1], redis.call('GET', KEYS[1]), application)
  number.forget_standing(state, ARGV[1])
  number.write(state)
end
return 1
