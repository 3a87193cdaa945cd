-- Reads the copy of who may call.
-- include clock mirror

local kept = redis.call('HMGET', key.copy, 'server', 'sealed')
return kept[1] == mirror.server_name() and kept[2]
