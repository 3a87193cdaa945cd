-- The subjects of a message: number, application, country of an application, block, and an end user's address, /48 and /32 (IPv6). All
-- are read at once and written once, in the number's bucket: shared subjects have a state in each bucket.
local subjects = {}
local OF_MESSAGE = { 'number', 'application', 'country', 'block', 'address', 'network', 'provider' }
local OF_MONEY = { 'application', 'country' }
local TAG = #'otp:{00}:' -- characters with which all keys of a bucket begin
local FIELDS = { block = 'block', address = 'ip_prefix', network = 'prefix_48', provider = 'prefix_32' } -- of a record: pseudonyms

-- Reads rows behind the states read before. A row has its life, and is written when it is `changed`.
local function read(states, names, keys, first, texts)
  local layouts, ttls = ruleset.layouts, ruleset.ttls
  for i = #states + 1, #texts do
    local name = names[i]
    local row = rows.unpack(keys[first + i - 1], texts[i], layouts[name])
    row.life, states[i], states[name] = ttls[name], row, row
  end
  return states
end

-- Reads the subjects of a message, whose keys a list has from a place on, in the order of OF_MESSAGE.
function subjects.read(keys, first, application)
  local texts = redis.call('MGET', unpack(keys, first))
  local state = number.read(keys[first], texts[1], application)
  -- With room for all: a table that grows costs more than what is read.
  local states = { state, nil, nil, nil, nil, number = state, application = false, country = false, block = false,
    address = false }
  return read(states, OF_MESSAGE, keys, first, texts)
end

-- Reads application and country, nil without a ceiling.
function subjects.read_money(application, country)
  if not ruleset.has_ceilings then return nil end
  return read({}, OF_MONEY, { application, country }, 1, redis.call('MGET', application, country))
end

-- Writes all that changed but the number.
function subjects.write(states)
  for i = 1, #states do
    local row = states[i]
    if row.changed then rows.write(row, row.life) end
  end
end

function subjects.tagged(key, name) return string.sub(key, 1, TAG) .. name end

-- Returns the key of a record's subject, nil where it has none.
function subjects.key(name, record)
  local value = name == 'country' and record.application .. '/' .. record.country or record[FIELDS[name]]
  return value ~= '' and subjects.tagged(record.key, name .. ':' .. value) or nil
end
