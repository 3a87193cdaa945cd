-- The subjects of a message: a number, an application, a country of an application, a block of numbers, and an end user's
-- address, /48 and /32 (of IPv6). Their states are read at once and each is written once.
--
-- In a cluster number, record and streams are in the number's slot; all other subjects have slots of their own. No rule looks
-- at subjects of two slots: a block's trickle follows what the rule of the country reported.
local subjects = {}
local OF_MESSAGE = { 'number', 'application', 'country', 'block', 'address', 'network', 'provider' }
local OF_MONEY = { 'application', 'country' }
local SHARED = { 'country', 'block', 'address', 'network', 'provider' }

local function read(order, keys, place, application)
  local found = {}
  if not keys[place] then return found end
  for i, text in ipairs(redis.call('MGET', unpack(keys, place))) do
    local name, key = order[i], keys[place + i - 1]
    if name == 'number' then
      found.number = number.read(key, text, application)
    else
      local values, layout, tail, exists = rows.unpack(text, ruleset.layouts[name])
      found[name] = { key = key, values = values, layout = layout, tail = tail, exists = exists }
    end
  end
  return found
end

-- Reads the subjects of a message, whose keys a list has from a place on: the first ones in the order of above.
function subjects.read(keys, place, application)
  return read(OF_MESSAGE, keys, place, application)
end

-- Reads the subjects that approvals change besides the number.
function subjects.read_shared(keys)
  return read(SHARED, keys, 1)
end

-- Reads application and country, in which money counts.
function subjects.read_money(keys, place)
  return read(OF_MONEY, keys, place)
end

-- Writes a subject other than a number.
function subjects.write(found, name)
  rows.write(found[name], ruleset.ttls[name])
end

-- Returns the keys of those that a record tells of: its country's and block's, and its address' where they are asked for.
-- `first` are keys before them.
function subjects.keys(record, with_address, first)
  local function add(name, tag, rest) first[#first + 1] = 'otp:{' .. tag .. '}:' .. name .. ':' .. tag .. (rest or '') end
  add('country', record.application, '/' .. record.country)
  if not record.block then return first end -- the release before kept none
  add('block', record.block)
  if with_address and record.network then add('address', record.network) end
  if with_address and record.wide then add('network', record.wide) end
  if with_address and record.provider then add('provider', record.provider) end
  return first
end
