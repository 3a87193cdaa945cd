-- Reads all that is stored of a number, or an application's user, for its holder.
-- include clock limits number
local row, whole, applications = redis.call('GET', key.number), { 0, {}, {} }, {}
for i, application in ipairs({ unpack(ARGV, arg.rest) }) do
  whole, applications[i] = number.shown(number.read(key.number, row, application), arg.devices)
end
return reply.number_shown { approved = whole[1], devices = whole[2], sends = whole[3], applications = applications }
