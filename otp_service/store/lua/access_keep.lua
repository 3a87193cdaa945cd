-- Keeps a copy of who may call, of a state of the ledger, for this run of the server.
--
-- KEYS[1] the copy
-- ARGV[1] the state   ARGV[2] the copy, sealed; empty to look only
-- Returns: 1 where this state is kept now, else 0
-- include clock mirror

local name, kept = mirror.server_name(), redis.call('HMGET', KEYS[1], 'server', 'state')
if kept[1] == name and kept[2] == ARGV[1] then return 1 end
if ARGV[2] == '' then return 0 end
redis.call('HSET', KEYS[1], 'server', name, 'state', ARGV[1], 'sealed', ARGV[2])
return 1
