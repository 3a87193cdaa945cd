-- States that the guard keeps, several in one string: name=number name=number|number …
-- A key of the guard names its part of it: `:guard/<part>/`.
local states = {}
local OTHERWISE = { standing = true, asked = true } -- a hash and a set

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

-- Sorts keys by their part, and reads the states of those that are strings, all at once. Returns the keys and the states
-- by part, and the keys that are not the guard's, in order.
function states.read(keys)
  local key_of, kept, parts, strings, others = {}, {}, {}, {}, {}
  for _, key in ipairs(keys) do
    local part = string.match(key, ':guard/(%a+)/')
    if not part then
      others[#others + 1] = key
    else
      key_of[part] = key
      if not OTHERWISE[part] then
        parts[#parts + 1], strings[#strings + 1] = part, key
      end
    end
  end
  if #strings > 0 then
    for i, text in ipairs(redis.call('MGET', unpack(strings))) do kept[parts[i]] = states.of(text) end
  end
  return key_of, kept, others
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
