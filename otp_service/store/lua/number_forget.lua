-- Forgets the approvals and devices of a number or user. Counts of messages and wrong codes stay.
-- include clock limits number
local row = redis.call('GET', key.number)
if not row then return 0 end
for _, application in ipairs({ unpack(ARGV, arg.rest) }) do
  local state = number.read(key.number, redis.call('GET', key.number), application)
  number.forget_standing(state, arg.devices)
  number.write(state)
end
return 1
