-- States that the guard keeps, several in one string: name=number name=number|number …
local states = {}

-- Returns a string's states by name: one number as such, several as they are written.
function states.of(text)
  local kept = {}
  for name, value in string.gmatch(text or '', '(%S+)=(%S+)') do kept[name] = tonumber(value) or value end
  return kept
end

-- Returns the three numbers of a state; zeros for nil.
function states.three(state)
  local one, two, three = string.match(state or '0|0|0', '^([^|]+)|([^|]+)|([^|]+)$')
  return tonumber(one), tonumber(two), tonumber(three)
end

-- Writes the states of a key, which live for some milliseconds.
function states.write(key, kept, life)
  local text = {}
  for name, value in pairs(kept) do
    if type(value) == 'number' then value = string.format('%.17g', value) end -- so that it is read as it was
    text[#text + 1] = name .. '=' .. value
  end
  if #text == 0 then return redis.call('DEL', key) end
  redis.call('SET', key, table.concat(text, ' '), 'PX', life)
end
