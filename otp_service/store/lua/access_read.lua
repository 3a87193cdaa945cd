-- Reads the copy of who may call.
--
-- KEYS[1] the copy
-- Returns: the copy, sealed; nil where there is none, or it was kept in another run of the server
-- include clock mirror

local kept = redis.call('HMGET', KEYS[1], 'server', 'sealed')
return kept[1] == mirror.server_name() and kept[2]
