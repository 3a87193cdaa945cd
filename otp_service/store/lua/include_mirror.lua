-- The mirror of the ledger (mirror.py). Messages that it must allow wait while it is behind: an opt-out might be missing.
local mirror = {}
local EVERYTHING = '9007199254740992' -- a position that no ledger reaches
local OF_BUCKET = #'otp:{00}:' -- characters with which all keys of a bucket begin
local run -- names this run of the server; it goes with the library's memory when the server ends

-- Returns the position of the last lift ('l:') or erasure ('e:') for all or an application; 0 for none.
local function last_of(stored, kind, application)
  return math.max(tonumber(stored[kind .. '*'] or 0), tonumber(stored[kind .. application] or 0))
end

-- Returns why a verification is over by the mirror's entry for a number or user: 'frozen', also if lifted since, or 'erased'; otherwise
-- nil and the position of the last lift or erasure, 0 for none.
local function ended(stored, verification)
  if not next(stored) then return nil, 0 end
  local own, known = verification.application, tonumber(verification.lifted or 0)
  local lifted, erased = last_of(stored, 'l:', own), last_of(stored, 'e:', own)
  if stored['f:*'] or stored['f:' .. own] or lifted > known then return 'frozen' end
  if erased > known then return 'erased' end
  return nil, math.max(lifted, erased)
end

-- Reads the mirror's entry for a number or user, by name. Nearly all are empty: HGETALL costs a third of HMGET then.
local function read(number) return by_name(redis.call('HGETALL', number)) end

-- Returns a line of a basis: a number or user, by the mirror's key, and a factor of theirs, if any.
function mirror.basis(key, factor) return key .. ' ' .. (factor or '') .. '\n' end

function mirror.elsewhere(basis)
  local own, lines = string.sub(KEYS[1], 1, OF_BUCKET), ''
  for line in string.gmatch(basis or '', '[^\n]+\n') do
    if string.sub(line, 1, OF_BUCKET) ~= own then lines = lines .. line end
  end
  return lines
end

-- Returns why a verification or approval is no longer valid: 'frozen', 'erased' or 'removed' (a factor); otherwise nil and the position of
-- the last lift or erasure. `elsewhere` is revocation_read's answer for the `basis` in other buckets. A check never waits for the ledger.
function mirror.revoked(verification, basis, elsewhere)
  local last = 0
  if not basis or basis == '' then return nil, last end
  if elsewhere and elsewhere ~= '' and elsewhere ~= 'valid' then return elsewhere end
  local own = string.sub(KEYS[1], 1, OF_BUCKET)
  for key, factor in string.gmatch(basis, '(%S+) (%S*)\n') do
    if string.sub(key, 1, OF_BUCKET) == own then
      local stored = read(key)
      local why, at = ended(stored, verification)
      if why then return why end
      if factor ~= '' and not stored['t:' .. factor] then return 'removed' end
      last = math.max(last, at)
    end
  end
  return nil, last
end

-- Tells whether the mirror is built. Until then nothing is valid, and nothing is revoked for good.
function mirror.is_there(head) return redis.call('HEXISTS', head, 'sequence') == 1 end

-- Returns why the mirror lets nothing through, as `/readyz` names it; otherwise nil and its position.
function mirror.unavailable_reason(head, identity, min_sequence)
  local stored_identity, position, closed, restored = unpack(redis.call('HMGET', head, 'identity', 'sequence', 'closed', 'restored'))
  if not (stored_identity and position) then return 'mirror-lost' end
  if stored_identity ~= identity then return 'mirror-foreign' end
  if closed then return 'mirror-diverged' end
  if restored then return 'mirror-restored' end
  if position ~= min_sequence and tonumber(position) < tonumber(min_sequence) then return 'mirror-behind' end
  return nil, position
end

-- Returns the names of this run of the server and of its former history, which is read each time: a take-over changes it.
function mirror.server_name()
  local function member(section, name)
    local text = redis.pcall('INFO', section)
    return type(text) == 'string' and string.match(text, name .. ':(%x+)') or ''
  end
  run = run or member('server', 'run_id')
  return run .. member('replication', 'master_replid2')
end

-- Returns since when this mirror and server serve, and the position from which on no write can be lost. A new server is noted.
function mirror.server_since(head)
  local stored = redis.call('HMGET', head, 'server', 'since', 'since_of')
  if stored[1] == mirror.server_name() then return tonumber(stored[2]), tonumber(stored[3]) end
  redis.call('HSET', head, 'server', mirror.server_name(), 'since', now, 'since_of', EVERYTHING)
  return now, tonumber(EVERYTHING)
end

local function without_consent(stored, demand, since, consented_at)
  local state, from, stated = string.match(stored or '', '^(%a+)|(%d+)|(-?%d+)$')
  if consented_at then return state == 'withdrawn' and consented_at <= tonumber(stated) and 'consent-outdated' or nil end
  if state == 'withdrawn' and tonumber(from) > tonumber(since) then return 'consent-required' end
  if demand == 'required' and state ~= 'given' then return 'consent-required' end
end

local function is_suppressed(ends) return ends and (ends == '' or tonumber(ends) > now) end

-- Returns why a message may not be sent: 'mirror-behind', 'frozen', 'suppressed', 'consent-required', 'consent-outdated', or 'canceled'
-- where its basis was erased or removed; otherwise nil, the mirror's position, and that of the last lift or erasure. `demand` is
-- 'required', 'recorded' or 'off'; a withdrawal counts from position `since` on; `consented_at` is the message's own consent.
function mirror.refusal(head, number, verification, identity, min_sequence, demand, since, consented_at, elsewhere)
  local closed, position = mirror.unavailable_reason(head, identity, min_sequence)
  if closed or elsewhere == 'mirror-behind' then return 'mirror-behind' end
  local own, stored = verification.application, read(number)
  local over, last = ended(stored, verification)
  local revoked, last_of_others = mirror.revoked(verification, verification.basis, elsewhere)
  if over or revoked then return (over == 'frozen' or revoked == 'frozen') and 'frozen' or 'canceled' end
  last = math.max(last, last_of_others)
  if not next(stored) and demand ~= 'required' then return nil, position, last end
  if is_suppressed(stored['s:*']) or is_suppressed(stored['s:' .. own]) then return 'suppressed' end
  local why = demand ~= 'off' and without_consent(stored['c:' .. own .. ':' .. verification.purpose], demand, since, consented_at)
  if why then return why end
  return nil, position, last
end
