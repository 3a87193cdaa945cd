-- Forgets what holds back messages of a subject. Approvals, which make room, costs and counts of plain limits stay.
-- include clock rows
local text = redis.call('GET', key.subject)
if not text then return 0 end
local row = rows.unpack(key.subject, text, rows.layout_of(text))
local anything = row.tail ~= ''
for name, place in pairs(row.layout.at) do
  local kind = string.sub(name, 1, 1)
  for i = place, place + row.layout.sizes[name] - 1 do
    if kind == 'b' or (kind == 'l' and name ~= 'lusual') or name == 'tsuspicion' then
      anything = anything or row[i] ~= 0
      row[i] = 0
    end
  end
end
row.tail = ''
rows.write(row, math.max(1, redis.call('PTTL', key.subject)))
return anything and 1 or 0
