-- Forgets what holds messages back of a block, a country, an address, an application or a wide network. What was approved there
-- stays, for it makes room, and so does what was spent, and counted in plain limits.
--
-- KEYS[1] the subject
-- Returns: 1 when there was anything, else 0
-- include clock rows

local text = redis.call('GET', KEYS[1])
if not text then return 0 end
local row = rows.unpack(KEYS[1], text, rows.layout_of(text))
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
rows.write(row, math.max(1, redis.call('PTTL', KEYS[1])))
return anything and 1 or 0
