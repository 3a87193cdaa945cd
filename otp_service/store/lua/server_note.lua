-- Notes that the server was restarted, or that another took over: what was written last may be lost.
--
-- KEYS: the mirror's heads that are read
-- Returns: nothing
-- include clock mirror

for _, head in ipairs(KEYS) do mirror.server_since(head) end
