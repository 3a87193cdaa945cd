-- Lets a call in at a gateway that takes a message now; dispatch.lua reads the returned state.
-- include clock health
local gateway = health.read(key.health, key.in_flight, arg.per_second, arg.max_in_flight)
local wait, why = health.wait(gateway)
local resort = why == 'breaker' and health.last_resort(gateway)
local enters = wait == 0 or (arg.last_resort == '1' and resort == 0)
if enters then health.enter(gateway, arg.dispatch, tonumber(arg.lease)) end
if enters and gateway.per_second > 0 then redis.call('HSET', key.health, 'turn_of', arg.dispatch) end
return table.concat({ why or '', wait, resort or '-', enters and 1 or 0 }, ' ')
