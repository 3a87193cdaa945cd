-- Converts what the release before kept, each under a key of its own, into the rows of subjects. The old keys stay, and expire by
-- themselves. What a row knows already stays too: the greater of two values counts, lists are united. So to convert a key twice
-- changes nothing. A row lives as long as the last of the keys that it is made of.
--
-- KEYS[1] the installation   KEYS[2] and following: any keys; old ones may be among them
-- ARGV[1] 1 when these are the last ones
-- Derives: the rows of subjects, from the names of old keys
-- Returns: 1 when all are converted, by whomever, else 0
-- include clock rows limits number targets conversions

local CONVERTED = 'states' -- field of the installation
local TIME, DEVICE, MOST_RECENT = 6, 28, 20 -- of a number's row
if redis.call('HEXISTS', KEYS[1], CONVERTED) == 1 then return 1 end

local function row_key(subject, tag, name) return 'otp:{' .. tag .. '}:' .. subject .. ':' .. name end

-- Returns texts in one, the newest first, of each name the latest; at most so many. An item has a name, a time and a text.
local function newest(items, most)
  local latest, order, texts = {}, {}, {}
  for _, item in ipairs(items) do
    if not latest[item.name] or item.at > latest[item.name].at then latest[item.name] = item end
  end
  for _, item in pairs(latest) do order[#order + 1] = item end
  table.sort(order, function(a, b) return a.at > b.at or (a.at == b.at and a.name < b.name) end)
  for i = 1, math.min(#order, most) do texts[i] = order[i].text end
  return table.concat(texts)
end

-- Returns a text of times with those of a list; a time that both have is there as often as where it is most often.
local function with_times(text, list)
  local items = {}
  for _, times in ipairs({ number.times(text), list }) do
    local seen = {}
    for _, at in ipairs(times) do
      seen[at] = (seen[at] or 0) + 1
      items[#items + 1] = { name = at .. '/' .. seen[at], at = at, text = struct.pack('<I6', at) }
    end
  end
  return newest(items, math.huge)
end

local function with_devices(text, devices)
  local items = {}
  for place = 1, #text, DEVICE do
    local item = string.sub(text, place, place + DEVICE - 1)
    items[#items + 1] = { name = string.sub(item, 1, -TIME - 1), at = struct.unpack('<I6', item, DEVICE - TIME + 1), text = item }
  end
  for name, at in pairs(devices) do items[#items + 1] = { name = name, at = at, text = name .. struct.pack('<I6', at) } end
  return newest(items, ruleset.devices)
end

local function with_recent(text, lines)
  local items = {}
  for id, at, further in string.gmatch(text .. lines, '(%S+) (%d+)(%+*)\n') do
    items[#items + 1] = { name = id, at = tonumber(at), text = id .. ' ' .. at .. further .. '\n' }
  end
  return newest(items, MOST_RECENT)
end

-- Unites lists. `told` may have devices (times by pseudonym), sends and wrong (times), recent (as in a row).
local function unite(state, told)
  if told.sends then state.sends = with_times(state.sends, told.sends) end
  if told.wrong then state.wrong = with_times(state.wrong, told.wrong) end
  if told.devices then state.devices = with_devices(state.devices, told.devices) end
  if told.recent then state.recent = with_recent(state.recent, told.recent) end
end

local function teach_number(tag, pseudonym, application, told, ends)
  local key = row_key('number', tag, pseudonym)
  local state = number.read(key, redis.call('GET', key), application)
  local latest = math.max(redis.call('PEXPIRETIME', key), ends)
  number.learn(state, told)
  unite(state, told)
  number.write(state)
  redis.call('PEXPIREAT', key, latest)
end

-- Brings money or a counter to a later interval.
local function to_interval(row, place, interval, kind)
  local passed = interval - row[place]
  if passed <= 0 then return end
  if kind == 'a' then row[place + 2] = passed == 1 and row[place + 1] or 0 end
  row[place], row[place + 1] = interval, 0
end

-- Teaches a row what was kept under a name: brings both to the same time where they tell of one, and keeps the greater values.
local function merge(row, place, kind, told)
  if kind == 'b' then
    conversions.advance(row, place)
    conversions.advance(told, 1)
  elseif kind == 'a' or kind == 's' then
    local interval = math.max(row[place], told[1])
    to_interval(row, place, interval, kind)
    to_interval(told, 1, interval, kind)
  elseif kind == 'w' then -- what has expired counts no more
    for i = place, place + 2, 2 do
      if row[i + 1] <= now then row[i] = 0 end
    end
  end
  for i, value in ipairs(told) do row[place + i - 1] = math.max(row[place + i - 1], value) end
end

-- Teaches the row of a subject other than a number: lists of values by their names, and what an address asked for.
local function teach(subject, tag, name, told, ends, members)
  local key, names = row_key(subject, tag, name), {}
  local text = redis.call('GET', key)
  local own = text and rows.layout_of(text) or rows.layout('ends')
  for one in pairs(told) do names[#names + 1] = not own.at[one] and one or nil end
  table.sort(names)
  table.insert(names, 1, own.names)
  local row = rows.unpack(key, text, rows.layout(table.concat(names, ' ')))
  for one, value in pairs(told) do merge(row, row.layout.at[one], string.sub(one, 1, 1), value) end
  if members then targets.learn(row, members, ends) end
  local latest = math.max(redis.call('PEXPIRETIME', key), ends)
  rows.write(row, latest - now)
  redis.call('PEXPIREAT', key, latest) -- to the millisecond
end

-- What was kept in MessagePack, by the names of rows. A level, such as u3600, had no letter before it.
local NAMES = { at = 'time', c = 'b', wrong = 'awrong', right = 'aright', told = 'ntold', hour = 'shour', day = 'sday' }

local function by_name(kept)
  local told = {}
  for name, value in pairs(kept) do
    local new = NAMES[name] or (string.match(name, '^a%d+$') and name) or 'l' .. name
    told[new] = type(value) == 'table' and value or { value }
  end
  return told
end

local function fading(subject)
  return function(tag, name, kept, ends)
    local told = by_name(kept)
    told.ends = { ends }
    teach(subject, tag, name, told, ends)
  end
end

local function staying(subject)
  return function(tag, name, kept, ends) teach(subject, tag, name, by_name(kept), ends) end
end

-- By the part of the guard that a key names. They are given the hash tag, what follows the part, what is kept, and when it ends.
local PARTS = {
  block = fading('block'), country = fading('country'), address = fading('address'), network = fading('network'),
  provider = fading('provider'), failures = fading('application_state'), spend = staying('application_state'),
  spendcountry = staying('country'),
}

function PARTS.reputation(tag, name, kept, ends)
  local devices = {}
  for word, at in pairs(kept) do
    local kind, rest = string.match(word, '^(%a):(.+)$')
    if kind == 'c' then devices[rest] = at end
    if kind == 'a' then teach_number(tag, name, rest, { here = at }, ends) end
  end
  teach_number(tag, name, '', { approved = kept.approved, anywhere = kept.known, devices = devices }, ends)
end

function PARTS.cooldown(tag, name, kept, ends) teach_number(tag, name, '', { cooldown = kept }, ends) end

function PARTS.guesses(tag, name, kept, ends)
  local application, pseudonym = string.match(name, '^(.+)/(.+)$')
  local written = math.min(now, ends - ruleset.lifetimes.guesses)
  local told = { guesses = kept, in_row = kept.row, locked = kept.ends, written = written }
  teach_number(tag, pseudonym, application, told, ends)
end

-- Returns the times of a moving window in milliseconds; they were kept in seconds.
local function window_times(key)
  local times = {}
  for i, stamp in ipairs(redis.call('LRANGE', key, 0, -1)) do
    local seconds, thousandths = string.match(stamp, '^(%d+)%.(%d%d%d)')
    times[i] = tonumber(seconds .. thousandths)
  end
  return times
end

-- By the pattern of a key's name: converts it, given the key, when it ends, and what the pattern catches.
local KINDS = {
  ['^otp:{(.+)}:guard/asked/(.+)$'] = function(key, ends, tag, name)
    teach('address', tag, name, {}, ends, redis.call('SRANDMEMBER', key, 1000)) -- a row holds no more
  end,
  ['^otp:{(.+)}:guard/(%l+)/(.+)$'] = function(key, ends, tag, part, name)
    if PARTS[part] then PARTS[part](tag, name, cmsgpack.unpack(redis.call('GET', key)), ends) end
  end,
  ['^otp:{(.+)}:recent:(.+)$'] = function(key, ends, tag, name)
    local lines = string.gsub(table.concat(redis.call('LRANGE', key, 0, -1), '\n') .. '\n', '|', ' ')
    teach_number(tag, name, '', { recent = lines }, ends)
  end,
  ['^otp:{(.+)}:number/(.+)/%d+$'] = function(key, ends, tag, name)
    teach_number(tag, name, '', { sends = window_times(key) }, ends)
  end,
  ['^otp:{(.+)}:failed_checks/(.+)/(.+)/%d+$'] = function(key, ends, tag, application, name)
    local times = window_times(key)
    teach_number(tag, name, application, { wrong = times, written = times[1] }, ends)
  end,
  ['^otp:{(%l+)/(.+)/(%d+)}(.*)$'] = function(key, ends, scope, name, seconds, which)
    local count = tonumber(redis.call('GET', key))
    local told = which == '/-1' and { 0, 0, count, ends } or { count, ends, 0, 0 }
    teach(scope == 'ip' and 'address' or 'application_state', name, name, { ['w' .. seconds] = told }, ends)
  end,
}

for _, key in ipairs({ unpack(KEYS, 2) }) do
  for pattern, convert in pairs(KINDS) do
    local found = { string.match(key, pattern) }
    if found[1] then
      local ends = redis.call('PEXPIRETIME', key)
      if ends > now then convert(key, ends, unpack(found)) end
    end
  end
end
if ARGV[1] ~= '1' then return 0 end
redis.call('HSET', KEYS[1], CONVERTED, 'rows')
return 1
