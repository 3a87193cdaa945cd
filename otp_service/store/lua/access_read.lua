-- Reads the copy of applications and API keys.
-- include clock mirror
local stored = redis.call('HMGET', key.copy, 'server', 'sealed')
return stored[1] == mirror.server_name() and stored[2]
