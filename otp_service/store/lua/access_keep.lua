-- Stores a copy of applications and API keys, of a state of the ledger; it is valid for this run of the server.
-- include clock mirror
local name, stored = mirror.server_name(), redis.call('HMGET', key.copy, 'server', 'state')
if stored[1] == name and stored[2] == arg.state then return 1 end
if arg.sealed == '' then return 0 end
redis.call('HSET', key.copy, 'server', name, 'state', arg.state, 'sealed', arg.sealed)
return 1
