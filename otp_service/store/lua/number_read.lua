-- Reads what is stored of a number.
-- include clock limits number
local row = redis.call('GET', key.number)
local state = number.read(key.number, row, '')
local wrong = {}
for i, application in ipairs({ unpack(ARGV, arg.rest) }) do
  wrong[i] = number.times(number.read(key.number, row, application).wrong)
end
return reply.number_read { now = now, recent = state.recent, sends = number.times(state.sends), wrong = wrong }
