-- States of subjects other than numbers, each under its key as a row: names of its values, a line feed, the values packed, a tail.
-- The first letter of a name tells how its values are packed. A row with other names, of another release or other settings, is read by
-- them, and values that this ruleset does not name are kept. A script has it as a list of values, with `key`, `layout` and `tail`.
local rows = { ENDS = 1, TIME = 2 } -- places of two values: when what fades ends, and when the levels were so

local FORMATS = {
  e = 'I6', -- end: when what fades is forgotten
  t = 'I6', -- time in milliseconds
  n = 'I4', -- number
  l = 'd', -- level of a bucket
  a = 'I4I4I4', -- counter of a sliding window: number of the interval, count in it, count in the one before
  b = 'I4I4I4I4I4ddI6I2I6', -- breaker (see conversions)
  w = 'I4I6I4I6', -- window: count, when it expires, the count before, when that expires
  s = 'I4d', -- money: number of the interval, amount in it
  m = 'I4d', -- the same of what was moved to a bucket's share of a ceiling
  f = 'I6I4I6I6', -- window over all buckets: until when it is full, count, time of the last sum or request, since when a sum is due
}
local STAYS = { w = true, s = true, m = true, f = true } -- they tell themselves when they are over
local layouts, count = {}, 0
local written -- rows as they were written last, by key, until their memory is needed: to unpack one again costs as much as to write it

-- Returns how a row with these names is packed: `at` has the place of each name's first value, `sizes` their number.
function rows.layout(names)
  local layout = layouts[names]
  if layout then return layout end
  local formats, at, sizes, zeros, fading = { '<' }, {}, {}, {}, {}
  for name in string.gmatch(names, '%S+') do
    local kind = string.sub(name, 1, 1)
    at[name] = #zeros + 1
    for _ in string.gmatch(FORMATS[kind], '%a') do
      zeros[#zeros + 1] = 0
      if not STAYS[kind] then fading[#fading + 1] = #zeros end
    end
    sizes[name] = #zeros - at[name] + 1
    formats[#formats + 1] = FORMATS[kind]
  end
  layout = { names = names, head = names .. '\n', format = table.concat(formats), at = at, sizes = sizes, zeros = zeros,
    size = #zeros, fading = fading }
  if count == 500 then layouts, count = {}, 0 end -- of settings that were: it does not grow for ever
  layouts[names], count = layout, count + 1
  return layout
end

-- Moves a row's values into places of the requested names; those that only the row has follow.
local function convert(row, requested)
  local from, further = row.layout, {}
  for name in string.gmatch(from.names, '%S+') do
    if not requested.at[name] then further[#further + 1] = ' ' .. name end
  end
  local to = #further == 0 and requested or rows.layout(requested.names .. table.concat(further))
  local moved = { key = row.key, layout = to, tail = row.tail, unpack(to.zeros) }
  for name in string.gmatch(from.names, '%S+') do
    local place, source = to.at[name], from.at[name]
    for i = 0, from.sizes[name] - 1 do moved[place + i] = row[source + i] end
  end
  return moved
end

function rows.layout_of(text) return rows.layout(string.match(text, '^[^\n]*')) end

-- With room for what is noted later: a table that grows costs more than all of its reads.
local function new(key, layout, ...)
  return { key = key, layout = layout, tail = '', life = 0, changed = false, text = '', ... }
end

-- Reads a row, for a requested layout; a new one for false.
function rows.unpack(key, text, requested)
  if not text then return new(key, requested, unpack(requested.zeros)) end
  local row = written and written[key]
  if row then written[key], row.changed = nil, false end -- a script may change it and not write it
  if not row or row.text ~= text or row.layout ~= requested then
    local layout = requested
    if string.find(text, layout.head, 1, true) ~= 1 then layout = rows.layout_of(text) end
    row = new(key, layout, struct.unpack(layout.format, text, #layout.head + 1))
    row.tail = string.sub(text, row[layout.size + 1]) -- which tells where the values end
    if layout ~= requested then row = convert(row, requested) end
  end
  local ends = row[rows.ENDS]
  if ends > 0 and (now >= ends or row[rows.TIME] > now + clock.WRONG) then
    local fading = row.layout.fading
    for i = 1, #fading do row[fading[i]] = 0 end
  end
  return row
end

function rows.write(row, life)
  local layout = row.layout
  row.text = layout.head .. struct.pack(layout.format, unpack(row, 1, layout.size)) .. row.tail
  redis.call('SET', row.key, row.text, 'PX', life)
  written = written or setmetatable({}, { __mode = 'v' }) -- whose rows go when memory is collected
  written[row.key] = row
end
