-- Tells what is kept of a subject other than a number, for those who look. Changes nothing.
--
-- KEYS[1] the subject
-- Returns: the time, and what is kept by name as JSON, an empty word for nothing
-- include clock rows

local text = redis.call('GET', KEYS[1])
return { now, text and cjson.encode(rows.by_name(text)) or '' }
