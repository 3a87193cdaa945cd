-- Brings shared subjects to the present, as the next message would find them, and tells what they hold; writes nothing. What is over, or was
-- never counted, shows as nothing.
-- KEYS the subjects   ARGV[1] JSON: rulesets by application   ARGV[2] and following, for each: name, application, home or abroad

local by_application = cjson.decode(ARGV[1])
local told = {}
local function window(row, w, interval)
  limits.sliding_wait({ place = w, milliseconds = interval }, row, 1e9)
  if row[w] + row[w + 2] == 0 then row[w + 1], row[w + 3] = 0, 0 end
  if row[w + 2] == 0 then row[w + 3] = 0 end
end
for i, key in ipairs(KEYS) do
  local name, application, place = ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1]
  local rules = register(by_application[application])
  local row = rows.unpack(key, redis.call('GET', key), rules.layouts[name])
  local at, tail = row.layout.at, row.tail
  for _, part in ipairs(rules.parts_of.start[place]) do
    if part.name == name then
      local levels = {}
      for _, rule in ipairs(part.buckets) do levels[rule.level] = buckets.leak(row, rule) end
      for level, value in pairs(levels) do row[level] = value end
      if part.breaker then
        conversions.advance(row, part.breaker_at)
        conversions.judge(row, part.breaker_at, part.breaker)
      end
      row[rows.ENDS], row[rows.TIME] = 0, 0
    end
  end
  for value, first in pairs(at) do
    local kind = string.sub(value, 1, 1)
    if kind == 'w' then window(row, first, 1000 * tonumber(string.sub(value, 2))) end
    if kind == 's' then -- an interval that is over, or in which nothing was spent
      local present = math.floor(now / (value == 'shour' and 3600000 or 86400000))
      if row[first + 1] == 0 or (row[first] ~= present and row[first] ~= present + 1) then row[first], row[first + 1] = 0, 0 end
    end
  end
  if at.ltrickle then
    local most = row[at.ntrickle] / 4
    row[at.ltrickle] = math.max(0, math.min(most, row[at.ltrickle]) - row[at.ntrickle] / 3600000 * math.max(0, now - row[at.ttrickle]))
    row[at.ttrickle] = 0
  end
  if name == 'address' and #tail > 6 then
    local ends, from = struct.unpack('<I6', tail)
    if now > ends or #tail == from then tail = '' end
  end
  local values = {}
  for value, first in pairs(at) do
    local of = {}
    for j = 0, row.layout.sizes[value] - 1 do of[j + 1] = string.format('%.17g', row[first + j]) end
    values[#values + 1] = value .. '=' .. table.concat(of, ',')
  end
  table.sort(values)
  told[i] = table.concat(values, ' ') .. ' ' .. tail
end
return told
