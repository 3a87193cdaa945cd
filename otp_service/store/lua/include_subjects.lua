-- The subjects of a message: a number, an application, a country of an application, a block of numbers, and an end user's
-- address, /48 and /32 (of IPv6). Their states are read at once and each is written once.
--
-- In a cluster number, record and streams are in the number's slot; all other subjects have slots of their own. No rule reads subjects
-- of two slots; but a block's trickle counts only while the breaker of the country is open (see findings).
local subjects = {}
local OF_MESSAGE = { 'number', 'application', 'country', 'block', 'address', 'network', 'provider' }
local OF_MONEY = { 'application', 'country' }
local FIELDS = { block = 'block', address = 'network', network = 'wide', provider = 'provider' } -- of a record: pseudonyms

-- Reads rows behind those that were found before. A row knows for how long it is to live, and is written when it is `changed`.
local function read(found, names, keys, first, texts)
  local layouts, ttls = ruleset.layouts, ruleset.ttls
  for i = #found + 1, #texts do
    local name = names[i]
    local row = rows.unpack(keys[first + i - 1], texts[i], layouts[name])
    row.life, found[i], found[name] = ttls[name], row, row
  end
  return found
end

-- Reads the subjects of a message, whose keys a list has from a place on: the first ones in the order of above.
function subjects.read(keys, first, application)
  local texts = redis.call('MGET', unpack(keys, first))
  local state = number.read(keys[first], texts[1], application)
  -- With room for all, for a table that grows costs more than what is read.
  local found = { state, nil, nil, nil, nil, number = state, application = false, country = false, block = false,
    address = false }
  return read(found, OF_MESSAGE, keys, first, texts)
end

-- Reads application and country, in which money counts, where their keys are given.
function subjects.read_money(keys, first)
  return keys[first] and read({}, OF_MONEY, keys, first, redis.call('MGET', unpack(keys, first))) or {}
end

-- Reads subjects of one slot, by their names. Returns them, and what was kept of each, in the order of the names.
function subjects.read_shared(names, keys)
  local texts = redis.call('MGET', unpack(keys))
  return read({}, names, keys, 1, texts), texts
end

-- Writes all that changed but the number.
function subjects.write(found)
  for i = 1, #found do
    local row = found[i]
    if row.changed then rows.write(row, row.life) end
  end
end

-- Returns the key of a subject that a record tells of, nil when it tells of none.
function subjects.key(name, record)
  local tag = name == 'country' and record.application or record[FIELDS[name]]
  if tag == '' then return nil end
  return 'otp:{' .. tag .. '}:' .. name .. ':' .. tag .. (name == 'country' and '/' .. record.country or '')
end
