-- States that the guard keeps, several in one string: name=number name=number|number …
-- A key of the guard names its part of it: `:guard/<part>/`.
local states = {}

-- Returns a string's states by name: one number as such, several as they are written.
function states.of(text)
  local kept = {}
  if not text then return kept end
  for name, value in string.gmatch(text, '(%S+)=(%S+)') do kept[name] = tonumber(value) or value end
  return kept
end

-- Returns the three numbers of a state; zeros for nil.
function states.three(state)
  local one, two, three = string.match(state or '0|0|0', '^([^|]+)|([^|]+)|([^|]+)$')
  return tonumber(one), tonumber(two), tonumber(three)
end

-- Reads the states of the guard's keys, which a list has from a place on: those that are strings, all at once. Returns the
-- keys and the states by part, and the place after them.
function states.read(keys, place)
  local key_of, kept, parts, strings = {}, {}, {}, {}
  local part = string.match(keys[place] or '', ':guard/(%a+)/')
  while part do
    key_of[part] = keys[place]
    if part ~= 'asked' then -- that is a set
      parts[#parts + 1], strings[#strings + 1] = part, keys[place]
    end
    place = place + 1
    part = string.match(keys[place] or '', ':guard/(%a+)/')
  end
  if #strings > 0 then
    for i, text in ipairs(redis.call('MGET', unpack(strings))) do kept[parts[i]] = states.of(text) end
  end
  return key_of, kept, place
end

-- Writes the states of a key, which live for some milliseconds.
function states.write(key, kept, life)
  local text = {}
  for name, value in pairs(kept) do
    if type(value) == 'number' and value % 1 ~= 0 then
      value = string.format('%.17g', value) -- so that it is read as it was; whole ones are written whole
    end
    text[#text + 1] = name .. '=' .. value
  end
  if #text == 0 then return redis.call('DEL', key) end
  redis.call('SET', key, table.concat(text, ' '), 'PX', life)
end
