-- Registers a plan: what the starts of an application, purpose, country and channel have in common.
local values = cjson.decode(arg.text)
-- How each event and job of a start begins: JSON that the start ends.
local event = { application = values.application, purpose = values.purpose, country = values.country, channel = values.channel }
event.type = 'verification.started'
values.event = string.sub(cjson.encode(event), 1, -2)
event.type, event.v, event.message, event.generation = nil, '1', 1, 0
values.job = string.sub(cjson.encode(event), 1, -2)
make_room()
plans[arg.name] = values
return 'OK'
