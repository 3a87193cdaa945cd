-- Lets a call in at a gateway, if that takes one now, before the number's slot records it: there dispatch.lua is given what this returns.
--
-- KEYS[1] the gateway's health   KEYS[2] its calls in flight
-- ARGV[1] identifier of the dispatch   ARGV[2] messages a second and ARGV[3] calls in flight, 0 for any
-- ARGV[4] milliseconds that the call may take   ARGV[5] 1 where no other gateway is left: an open breaker is passed now and then
-- Returns: with blanks between, what kept the call out, breaker or limit, or nothing; for how many milliseconds, or 0; those until it is
-- passed as the last resort, or -; and 1 where the call was let in, otherwise 0
-- include clock health

local one = health.read(KEYS[1], KEYS[2], ARGV[2], ARGV[3])
local wait, why = health.wait(one)
local resort = why == 'breaker' and health.last_resort(one)
local enters = wait == 0 or (ARGV[5] == '1' and resort == 0)
if enters then health.enter(one, ARGV[1], tonumber(ARGV[4])) end
if enters and one.per_second > 0 then redis.call('HSET', KEYS[1], 'turn_of', ARGV[1]) end
return table.concat({ why or '', wait, resort or '-', enters and 1 or 0 }, ' ')
