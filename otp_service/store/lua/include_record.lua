-- The verification's record, a hash: what never changes (`f`), its state with the sealed number behind it, which goes when the
-- verification has ended (`s`), what else than the number it rests on (`basis`, see `mirror.revoked`), and fields of its messages (see
-- verifications.py).
--
-- A record of the release before has a field for each value, and keeps that form while it lives.
local record = {}

local FORM = 2
local FIXED = '<BI6I3I6Hc0Hc0Bc0Bc0Bc0Bc0Bc0Bc0Bc0Bc0Bc0Bc0Bc0' -- texts with their lengths
local RARE = '<I6I6I6' -- what hardly any record has, in one text
local STATE = '<BBBI3Hc0Bc0Bc0Bc0' -- the last message's time counts from the start
local TAG_LENGTH = 21
local OF_POLICY = { 'application', 'purpose', 'country', 'kind', 'code_length', 'max_checks', 'max_sends', 'resend_delays',
  'resend', 'channels', 'fallback' }
local NEEDED = '([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|' -- the first ones of them
local OF_STATE = { 'checks', 'sends', 'generation', 'last_send', 'status', 'channel', 'tag', 'guard' }
local NUMBERS = { 'created', 'expires', 'ledger', 'lifted', 'consented', 'fence', 'checks', 'sends', 'generation', 'last_send' }
local TEXTS = { 'locale', 'pseudonym', 'transaction', 'mask', 'details', 'start', 'context', 'block', 'network', 'wide',
  'provider', 'status', 'channel', 'tag', 'guard' }
local MAY_BE_MISSING = { lifted = 0, consented = 0, fence = 0, start = '', context = '', network = '', wide = '',
  provider = '', guard = '' }

local function pack_fixed(self)
  local rare = ''
  if self.lifted + self.consented + self.fence > 0 then
    rare = struct.pack(RARE, self.lifted, self.consented, self.fence)
  end
  return struct.pack(FIXED, FORM, self.created, self.expires - self.created, self.ledger, #self.details, self.details,
    #self.start, self.start, #self.policy, self.policy, #self.mask, self.mask, #rare, rare, #self.locale, self.locale,
    #self.pseudonym, self.pseudonym, #self.transaction, self.transaction, #self.context, self.context, #self.block,
    self.block, #self.network, self.network, #self.wide, self.wide, #self.provider, self.provider)
end

local function pack_state(self)
  local sent_after = math.max(0, self.last_send - self.created) -- a clock may be set back
  return struct.pack(STATE, self.checks, self.sends, self.generation, sent_after, #self.guard, self.guard, #self.status,
    self.status, #self.channel, self.channel, #self.tag, self.tag) .. self.sealed_number
end

local function unpacked(fixed, state)
  local self, _, life, rare, place = { lifted = 0, consented = 0, fence = 0 }, nil, nil, nil, nil
  _, self.created, life, self.ledger, self.details, self.start, self.policy, self.mask, rare, self.locale,
    self.pseudonym, self.transaction, self.context, self.block, self.network, self.wide, self.provider =
    struct.unpack(FIXED, fixed)
  if rare ~= '' then self.lifted, self.consented, self.fence = struct.unpack(RARE, rare) end
  self.checks, self.sends, self.generation, self.last_send, self.guard, self.status, self.channel, self.tag, place =
    struct.unpack(STATE, state)
  self.sealed_number = string.sub(state, place)
  self.expires, self.last_send = self.created + life, self.created + self.last_send
  return self
end

-- Reads a record that has a field for each value; nil for none.
local function of_fields(key)
  local fields = by_name(redis.call('HGETALL', key))
  if not fields.application then return nil end
  local self, policy = { has_fields = true, sealed_number = '' }, {}
  for _, name in ipairs(NUMBERS) do self[name] = tonumber(fields[name] or 0) end
  for _, name in ipairs(TEXTS) do self[name] = fields[name] or '' end
  for i, name in ipairs(OF_POLICY) do policy[i] = fields[name] or '0' end
  self.policy = table.concat(policy, '|')
  if string.find(self.guard, '^%.%a*$') then self.guard = string.sub(self.guard, 2) .. '.' end -- flags after a dot, no marks
  return self
end

-- Writes a value each into fields, names in the order of a list.
local function write_fields(self, names, fields)
  for _, name in ipairs(names) do
    if self[name] ~= MAY_BE_MISSING[name] then fields[#fields + 1], fields[#fields + 2] = name, self[name] end
  end
  redis.call('HSET', self.key, unpack(fields))
end

local function parse_policy(self)
  self.application, self.purpose, self.country, self.kind, self.code_length, self.max_checks, self.max_sends,
    self.resend_delays = string.match(self.policy, NEEDED)
end

-- Returns what is kept of a tag: 126 bits, but all of it for the release before, which compares all.
function record.kept_tag(tag)
  return WRITE_FORMAT > 1 and string.sub(tag, 1, TAG_LENGTH) or tag
end

-- Tells whether a tag is that of the verification's code.
function record.is_tag(self, tag)
  return string.sub(self.tag, 1, TAG_LENGTH) == string.sub(tag, 1, TAG_LENGTH)
end

-- Returns the identifier that a record's key ends with.
function record.id(key)
  return string.match(key, '[^:]+$')
end

-- Returns a verification's values by name, its expiry that of before a fence is over; nil when there is no record, or one of
-- another application than a given one. What is missing is '' or 0.
function record.read(key, application)
  local kept, self = redis.call('HMGET', key, 'f', 's', 'basis'), nil
  if kept[1] then self = unpacked(kept[1], kept[2]) else self = of_fields(key) end
  if not self then return nil end
  parse_policy(self)
  if application and self.application ~= application then return nil end
  self.basis = kept[3] or ''
  self.key, self.id, self.expires = key, record.id(key), fence.expiry(self.expires, self.fence)
  return self
end

-- Returns the newest verification of an application and purpose, of those that a number's state lists and whose records are kept; nil
-- for none. Keys of records begin with a `beginning`.
function record.newest(state, beginning, application, purpose)
  for id in string.gmatch(state.recent, '(%S+) %d+%+*\n') do
    local found = record.read(beginning .. id, application)
    if found and found.purpose == purpose then return found end
  end
end

-- Writes a new record, kept until `ends`, with further fields: name, value, …
function record.create(self, ends, ...)
  if WRITE_FORMAT > 1 then
    redis.call('HSET', self.key, 'f', pack_fixed(self), 's', pack_state(self), ...)
  else
    local fields, i = { 'v', '1', 'destination', self.sealed_number, ... }, 0
    for value in string.gmatch(self.policy .. '|', '(.-)|') do
      i = i + 1
      fields[#fields + 1], fields[#fields + 2] = OF_POLICY[i], value
    end
    fields[#fields + 1], fields[#fields + 2] = 'kind', self.transaction == '' and 'possession' or 'transaction'
    write_fields(self, NUMBERS, fields)
    write_fields(self, TEXTS, {})
  end
  if self.basis then redis.call('HSET', self.key, 'basis', self.basis) end
  redis.call('PEXPIREAT', self.key, ends)
end

-- Writes what changes of a record.
function record.write(self)
  if self.has_fields then
    write_fields(self, OF_STATE, { 'guard', self.guard }) -- also that there is none any more
  else
    redis.call('HSET', self.key, 's', pack_state(self))
  end
end

-- Makes a verification final: the number goes, and the start's idempotency key learns the outcome, since it outlives the
-- record.
function record.finish(self, status)
  if self.sealed_number == '' then redis.call('HDEL', self.key, 'to', 'destination') end -- it was written by an earlier release
  self.status, self.sealed_number = status, ''
  record.write(self)
  if self.start ~= '' and redis.call('EXISTS', self.start) == 1 then redis.call('HSET', self.start, 'status', status) end
end

-- Returns all of it as a flat list, as it is handed out; empty when there is none. `expires` comes last where a fence changes it.
function record.read_all(key)
  local list, found = redis.call('HGETALL', key), fence.at and record.read(key)
  if not found then return list end
  list[#list + 1], list[#list + 2] = 'expires', string.format('%d', found.expires)
  return list
end
