-- Takes, keeps or ends the turn to verify the audit chain, unless another verification has it by now.
local holder = redis.call('HGET', key.turn, 'name')
if holder and holder ~= arg.name then return 0 end
redis.call('HSET', key.turn, 'name', arg.name, 'run', arg.run)
redis.call('PEXPIRE', key.turn, arg.life) -- 0 deletes it
return 1
