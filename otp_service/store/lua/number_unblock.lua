-- Forgets the times of a number's messages and wrong codes, or its waits and locks. Approvals stay.
-- include clock limits number
local forgotten = 0
for _, application in ipairs({ unpack(ARGV, arg.rest) }) do
  local row = redis.call('GET', key.number)
  if not row then return forgotten end
  local state = number.read(key.number, row, application)
  forgotten = forgotten + (arg.kind == 'windows' and number.forget_windows or number.forget_waits)(state)
  number.write(state)
end
return forgotten
