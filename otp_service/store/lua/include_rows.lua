-- States of subjects: what is kept of a number, an address, a wide network, a block, a country of an application or an
-- application, each under one key, as a row: the names of its values, a line feed, the values packed, and a tail of texts.
--
-- The letter that a name begins with tells how its values are packed. A row with other names was written by another release,
-- or under other settings: it is read by its names, and what this ruleset has no name for is kept.
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
}
local STAYS = { w = true, s = true } -- they tell themselves when they are over
local layouts, count = {}, 0

-- Returns how a row with these names, blanks between, is packed: `at` has the place of each name's first value, `sizes` how many
-- values it has.
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
  layout = { names = names, format = table.concat(formats), at = at, sizes = sizes, zeros = zeros, size = #zeros,
    fading = fading }
  if count == 500 then layouts, count = {}, 0 end -- of settings that were: it does not grow for ever
  layouts[names], count = layout, count + 1
  return layout
end

-- Returns a row of another layout in one that has the wanted names first, and then those that only the other one has.
local function converted(values, from, wanted)
  local further = {}
  for name in string.gmatch(from.names, '%S+') do
    if not wanted.at[name] then further[#further + 1] = ' ' .. name end
  end
  local to = #further == 0 and wanted or rows.layout(wanted.names .. table.concat(further))
  local moved = { unpack(to.zeros) }
  for name in string.gmatch(from.names, '%S+') do
    local place, source = to.at[name], from.at[name]
    for i = 0, from.sizes[name] - 1 do moved[place + i] = values[source + i] end
  end
  return moved, to
end

-- Reads a row; a new one for false. Returns its values, its layout, its tail, and whether there was one that still counts.
function rows.unpack(text, wanted)
  if not text then return { unpack(wanted.zeros) }, wanted, '', false end
  local feed = string.find(text, '\n', 1, true)
  local layout = rows.layout(string.sub(text, 1, feed - 1))
  local values = { struct.unpack(layout.format, text, feed + 1) }
  local tail = string.sub(text, values[layout.size + 1])
  values[layout.size + 1] = nil
  if layout.names ~= wanted.names then values, layout = converted(values, layout, wanted) end
  if now < values[rows.ENDS] then return values, layout, tail, true end
  for _, place in ipairs(layout.fading) do values[place] = 0 end
  return values, layout, tail, false
end

-- Writes the row of a subject, which lives for some milliseconds.
function rows.write(subject, life)
  local layout = subject.layout
  redis.call('SET', subject.key, layout.names .. '\n' .. struct.pack(layout.format, unpack(subject.values, 1, layout.size))
    .. subject.tail, 'PX', life)
end

-- Returns what counts of a row as a table by name, of lists where a name has several values.
function rows.by_name(text)
  local layout, found = rows.layout(string.match(text, '^[^\n]*')), {}
  local values = rows.unpack(text, layout)
  for name, place in pairs(layout.at) do
    local size = layout.sizes[name]
    found[name] = size == 1 and values[place] or { unpack(values, place, place + size - 1) }
  end
  return found
end
