-- Notes that the server was restarted, or that another took over: what was written last may be lost.
--
-- KEYS[1] the mirror's head
-- Returns: since when the server runs, by the mirror; 0 where there is none
-- include clock mirror

if redis.call('HEXISTS', KEYS[1], 'identity') == 0 then return 0 end
return (mirror.server_since(KEYS[1]))
