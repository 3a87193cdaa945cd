-- A verification's record, a hash: fixed values (`f`), state and, until it ends, the sealed number (`s`), its other numbers and users
-- (`basis`, see `mirror.revoked`), and fields of its messages (verifications.py).
local record = {}

local FORM = 2
local FIXED = '<BI6I3I6Hc0Hc0Bc0Bc0Bc0Bc0Bc0Bc0Bc0Bc0Bc0Bc0Bc0' -- texts with their lengths
local RARE = '<I6I6I6' -- what hardly any record has, in one text
local STATE = '<BBBI3Hc0Bc0Bc0Bc0' -- the last message's time counts from the start
local TAG_LENGTH = 21
local NEEDED = '([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|' -- the first ones of them

local function pack_fixed(self)
  local rare = ''
  if self.lifted + self.consented + self.fence > 0 then
    rare = struct.pack(RARE, self.lifted, self.consented, self.fence)
  end
  return struct.pack(FIXED, FORM, self.created, self.expires - self.created, self.ledger, #self.details, self.details,
    #self.start, self.start, #self.policy, self.policy, #self.mask, self.mask, #rare, rare, #self.locale, self.locale,
    #self.pseudonym, self.pseudonym, #self.transaction, self.transaction, #self.context, self.context, #self.block,
    self.block, #self.ip_prefix, self.ip_prefix, #self.prefix_48, self.prefix_48, #self.prefix_32, self.prefix_32)
end

local function pack_state(self)
  local sent_after = math.max(0, self.last_send - self.created) -- a clock may be set back
  return struct.pack(STATE, self.checks, self.sends, self.generation, sent_after, #self.guard, self.guard, #self.status,
    self.status, #self.channel, self.channel, #self.tag, self.tag) .. self.sealed_number
end

-- Refuses a record of another release.
local function unpacked(fixed, state)
  local form = string.byte(fixed)
  if form ~= FORM then error('a record of the form ' .. form) end
  local self, _, life, rare, place = { lifted = 0, consented = 0, fence = 0 }, nil, nil, nil, nil
  _, self.created, life, self.ledger, self.details, self.start, self.policy, self.mask, rare, self.locale,
    self.pseudonym, self.transaction, self.context, self.block, self.ip_prefix, self.prefix_48, self.prefix_32 =
    struct.unpack(FIXED, fixed)
  if rare ~= '' then self.lifted, self.consented, self.fence = struct.unpack(RARE, rare) end
  self.checks, self.sends, self.generation, self.last_send, self.guard, self.status, self.channel, self.tag, place =
    struct.unpack(STATE, state)
  self.sealed_number = string.sub(state, place)
  self.expires, self.last_send = self.created + life, self.created + self.last_send
  self.application, self.purpose, self.country, self.kind, self.code_length, self.max_checks, self.max_sends,
    self.resend_delays = string.match(self.policy, NEEDED)
  return self
end

-- Returns the status now: that of a pending verification becomes 'expired'.
function record.status(self) return self.status == 'pending' and now >= self.expires and 'expired' or self.status end

-- Returns the 126 bits of a tag that a record stores.
function record.stored_tag(tag) return string.sub(tag, 1, TAG_LENGTH) end

-- Notes a user's verification: of the last 20, as of a number.
function record.note_of_user(key, id, life)
  redis.call('LPUSH', key, id)
  redis.call('LTRIM', key, 0, 19)
  redis.call('PEXPIRE', key, life)
end

-- Returns a verification by name; nil for no record, or one of another application. A fence makes it expire.
function record.read(key, application)
  local stored = redis.call('HMGET', key, 'f', 's', 'basis')
  if not stored[1] then return nil end
  local self = unpacked(stored[1], stored[2])
  if application and self.application ~= application then return nil end
  self.basis = stored[3] or ''
  self.key, self.id, self.expires = key, string.match(key, '[^:]+$'), fence.expiry(self.expires, self.fence)
  return self
end

-- Returns a number's newest recorded verification of an application and purpose; nil for none. Record keys start with `beginning`.
function record.newest(state, beginning, application, purpose)
  for id in string.gmatch(state.recent, '(%S+) %d+%+*\n') do
    local verification = record.read(beginning .. id, application)
    if verification and verification.purpose == purpose then return verification end
  end
end

-- Writes a new record, kept until `ends`, with further fields: name, value, …
function record.create(self, ends, ...)
  redis.call('HSET', self.key, 'f', pack_fixed(self), 's', pack_state(self), ...)
  if self.basis then redis.call('HSET', self.key, 'basis', self.basis) end
  redis.call('PEXPIREAT', self.key, ends)
end

function record.write(self) redis.call('HSET', self.key, 's', pack_state(self)) end

-- Makes a verification final: its number goes, and the start's idempotency key, which outlives the record, learns the status.
function record.finish(self, status)
  self.status, self.sealed_number = status, ''
  record.write(self)
  if self.start ~= '' and redis.call('EXISTS', self.start) == 1 then redis.call('HSET', self.start, 'status', status) end
end

-- Returns the whole record as a flat list, empty for none. A fence puts `expires` last.
function record.read_all(key)
  local list, verification = redis.call('HGETALL', key), fence.at and record.read(key)
  if not verification then return list end
  list[#list + 1], list[#list + 2] = 'expires', string.format('%d', verification.expires)
  return list
end
