-- Tells what is kept of a subject other than a number, for those who look. Changes nothing.
--
-- KEYS[1] the subject
-- Returns: the time, and what is kept by name as JSON, an empty word for nothing
-- include clock rows

local text = redis.call('GET', KEYS[1])
if not text then return { now, '' } end
local row, found = rows.unpack('', text, rows.layout_of(text)), {}
for name, place in pairs(row.layout.at) do
  local size = row.layout.sizes[name]
  found[name] = size == 1 and row[place] or { unpack(row, place, place + size - 1) } -- a list where it has several values
end
return { now, cjson.encode(found) }
