-- Stores a copy of who may call, of a state of the ledger; it counts for this run of the server.
-- include clock mirror
local name, stored = mirror.server_name(), redis.call('HMGET', key.copy, 'server', 'state')
if stored[1] == name and stored[2] == arg.state then return 1 end
if arg.sealed == '' then return 0 end
redis.call('HSET', key.copy, 'server', name, 'state', arg.state, 'sealed', arg.sealed)
return 1
