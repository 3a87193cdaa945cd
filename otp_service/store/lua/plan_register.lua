-- Learns a plan: what the starts of an application, purpose, country and channel have in common. It is kept until the
-- server restarts, or thousands of others were learnt.
--
-- ARGV[1] its name, a digest   ARGV[2] the plan as JSON
-- Returns: OK

local one = cjson.decode(ARGV[2])
-- How each event and job of a start begins: JSON that the start ends.
local about = { application = one.application, purpose = one.purpose, country = one.country, channel = one.channel }
about.type = 'verification.started'
one.event = string.sub(cjson.encode(about), 1, -2)
about.type, about.v, about.message, about.generation = nil, '1', 1, 0
one.job = string.sub(cjson.encode(about), 1, -2)
make_room()
plans[ARGV[1]] = one
return 'OK'
