-- Notes that the server was restarted, or that another took over: what was written last may be lost.
--
-- KEYS[1] the mirror's head
-- Returns: since when the server runs, by the mirror
-- include clock mirror

return (mirror.server_since(KEYS[1]))
