-- Tells what the guard keeps under a key, for those who look. Changes nothing.
--
-- KEYS[1] a key of the guard
-- Returns: the time, and what is kept as JSON, an empty word for nothing
-- include clock

local text = redis.call('GET', KEYS[1])
return { now, text and cjson.encode(cmsgpack.unpack(text)) or '' }
