-- Reads what is stored of a subject other than a number.
-- include clock rows
local text = redis.call('GET', key.subject)
if not text then return reply.subject_read { now = now, values = '' } end
local row, values = rows.unpack('', text, rows.layout_of(text)), {}
for name, place in pairs(row.layout.at) do
  local size = row.layout.sizes[name]
  values[name] = size == 1 and row[place] or { unpack(row, place, place + size - 1) } -- a list where it has several values
end
return reply.subject_read { now = now, values = cjson.encode(values) }
