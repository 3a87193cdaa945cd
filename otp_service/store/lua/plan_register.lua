-- Registers a plan: what the starts of an application, purpose, country and channel have in common. It stays until the server
-- restarts, or thousands of others were registered.

local one = cjson.decode(arg.text)
-- How each event and job of a start begins: JSON that the start ends.
local about = { application = one.application, purpose = one.purpose, country = one.country, channel = one.channel }
about.type = 'verification.started'
one.event = string.sub(cjson.encode(about), 1, -2)
about.type, about.v, about.message, about.generation = nil, '1', 1, 0
one.job = string.sub(cjson.encode(about), 1, -2)
make_room()
plans[arg.name] = one
return 'OK'
