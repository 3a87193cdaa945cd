-- The mirror of the ledger: how far it has come, and what it says of a number (see mirror.py). A message that it must
-- allow waits while it is behind what the ledger is known to have come to: an opt-out might be missing.
local mirror = {}
local EVERYTHING = '9007199254740992' -- a position that no ledger reaches
local OF_BUCKET = #'otp:{00}:' -- characters with which all keys of a bucket begin
local run -- names this run of the server; it goes with the library's memory when the server ends

-- Returns the position in the ledger of the last entry of a kind ('l:', the lift of a freeze, or 'e:', an erasure), for all or for an
-- application; 0 for none.
local function last_of(stored, kind, application)
  return math.max(tonumber(stored[kind .. '*'] or 0), tonumber(stored[kind .. application] or 0))
end

-- Returns why what was started or approved for an application is over, by what the mirror has of a number or user: 'frozen', also
-- where the freeze was lifted since the position `lifted`, or 'erased' since then. Otherwise nil, and the position of the last lift
-- or erasure, 0 for none.
local function ended(stored, verification)
  if not next(stored) then return nil, 0 end
  local own, known = verification.application, tonumber(verification.lifted or 0)
  local lifted, erased = last_of(stored, 'l:', own), last_of(stored, 'e:', own)
  if stored['f:*'] or stored['f:' .. own] or lifted > known then return 'frozen' end
  if erased > known then return 'erased' end
  return nil, math.max(lifted, erased)
end

-- Returns what the mirror has of a number, by name. It knows nothing of most: to ask for all costs a third of asking for some.
local function read(number) return by_name(redis.call('HGETALL', number)) end

-- Returns what something rests on, as `mirror.revoked` reads it: a number or user, by the mirror's key, and a factor of theirs, if any.
function mirror.basis(key, factor) return key .. ' ' .. (factor or '') .. '\n' end

-- Returns the lines of a basis that are of other buckets than the call's keys, '' for none.
function mirror.elsewhere(basis)
  local own, lines = string.sub(KEYS[1], 1, OF_BUCKET), ''
  for line in string.gmatch(basis or '', '[^\n]+\n') do
    if string.sub(line, 1, OF_BUCKET) ~= own then lines = lines .. line end
  end
  return lines
end

-- Returns why a verification or an approval is not valid any more: 'frozen' or 'erased' since the position `about.lifted`, for
-- `about.application`; or 'removed', a factor. Otherwise nil, and the position of the last lift or erasure, 0 for none. `basis` is
-- what it rests on, nil or '' for nothing. The mirror decides alone, as far as it has come, so that a check never depends on the ledger.
-- Lines of other buckets are passed over: `elsewhere` is what revocation_read answered there, nil or '' before it was called.
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

-- Tells whether there is a mirror. While one is built anew it says of nobody that they are frozen, and of no factor that it is there: so
-- nothing is told to be valid then, nor revoked for good.
function mirror.is_there(head) return redis.call('HEXISTS', head, 'sequence') == 1 end

-- Returns why the mirror lets nothing through, by its name in `/readyz`; nil when it does, and then the position that it
-- has reached. `identity` is the ledger's, `least` the position that it is known to have reached.
function mirror.unavailable_reason(head, identity, min_sequence)
  local stored_identity, position, closed, restored = unpack(redis.call('HMGET', head, 'identity', 'sequence', 'closed', 'restored'))
  if not (stored_identity and position) then return 'mirror-lost' end
  if stored_identity ~= identity then return 'mirror-foreign' end
  if closed then return 'mirror-diverged' end
  if restored then return 'mirror-restored' end
  if position ~= min_sequence and tonumber(position) < tonumber(min_sequence) then return 'mirror-behind' end
  return nil, position
end

-- Returns the name of this run of the server and of what it followed last, empty where it does not tell: another after a restart, a
-- restore or a take-over, also by a server that was there before. So what it followed is asked each time.
function mirror.server_name()
  local function member(section, name)
    local text = redis.pcall('INFO', section)
    return type(text) == 'string' and string.match(text, name .. ':(%x+)') or ''
  end
  run = run or member('server', 'run_id')
  return run .. member('replication', 'master_replid2')
end

-- Returns since when the mirror is there, or its server is this one, and up to which position in the ledger that matters: of what came
-- later nothing can be lost. Notes it where the server is another one: what was written to that last may be lost here.
function mirror.server_since(head)
  local stored = redis.call('HMGET', head, 'server', 'since', 'since_of')
  if stored[1] == mirror.server_name() then return tonumber(stored[2]), tonumber(stored[3]) end
  redis.call('HSET', head, 'server', mirror.server_name(), 'since', now, 'since_of', EVERYTHING)
  return now, tonumber(EVERYTHING)
end

-- Opens a mirror that was restored with a fence, if no other fence closed it since.
function mirror.vouch(head, fence)
  if redis.call('HGET', head, 'restored') == fence then redis.call('HDEL', head, 'restored') end
end

-- Notes that the mirror is at the ledger's place, in this run of the server.
function mirror.note_compared(head)
  if redis.call('HGET', head, 'compared') ~= mirror.server_name() then
    redis.call('HSET', head, 'compared', mirror.server_name())
  end
end

-- Returns the place in the ledger that the mirror has come to, if a process compared both in this run of the server: nothing of the
-- mirror was lost since. Else, or where the mirror is closed, nothing.
function mirror.compared_place(head)
  local stored = redis.call('HMGET', head, 'identity', 'sequence', 'entry', 'link', 'compared', 'closed', 'restored')
  local fits = stored[1] and stored[2] and stored[5] == mirror.server_name() and not (stored[6] or stored[7])
  return fits and { unpack(stored, 1, 4) } or {}
end

-- Notes that its server is this one, and that nothing that was written to the one before is lost.
function mirror.go_on(head)
  if redis.call('HEXISTS', head, 'server') == 1 then redis.call('HSET', head, 'server', mirror.server_name()) end
end

-- Tells what is wrong with the consent to a message, of what the mirror has of it; nil for nothing.
local function without_consent(stored, demand, since, consented_at)
  local state, from, stated = string.match(stored or '', '^(%a+)|(%d+)|(-?%d+)$')
  if consented_at then return state == 'withdrawn' and consented_at <= tonumber(stated) and 'consent-outdated' or nil end
  if state == 'withdrawn' and tonumber(from) > tonumber(since) then return 'consent-required' end
  if demand == 'required' and state ~= 'given' then return 'consent-required' end
end

local function is_suppressed(ends) return ends and (ends == '' or tonumber(ends) > now) end

-- Returns what keeps an application's messages of a purpose from a number: 'mirror-behind', 'frozen', 'suppressed',
-- 'consent-required' or 'consent-outdated'; 'canceled' where the verification rests on what was erased or removed since; nil when
-- nothing does. Then also the position in the ledger that it was looked up at, and that of the last lift or erasure, 0 for none.
-- `demand` is what the application asks for: 'required', 'recorded' or 'off'. `since` is the position from which on a
-- withdrawal counts. `given` is when the consent was given that comes with the message, nil without one; `elsewhere` as `mirror.revoked`
-- takes it.
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
