-- The mirror of the ledger: how far it has come, and what it says of a number (see mirror.py). A message that it must
-- allow waits while it is behind what the ledger is known to have come to: an opt-out might be missing.
local mirror = {}
local fields = {} -- by application and purpose
local EVERYTHING = '9007199254740992' -- a place that no ledger comes to
local run -- names this run of the server; it goes with the library's memory when the server ends

-- Tells whether a freeze ends what was started, of what the mirror has: those that stand, and the places of the last lifts,
-- each for all and for an application. One that was lifted ends what was started before: that does not know of the lift.
local function ended(all, own, lifted, lifted_own, about)
  return all or own or mirror.later_position(lifted, lifted_own) > tonumber(about.lifted or 0)
end

-- Returns the later of two places in the ledger, where they are known; 0 where neither is.
function mirror.later_position(one, other)
  return math.max(tonumber(one or 0), tonumber(other or 0))
end

-- Tells whether a number is frozen for a verification's application or for all, or was since it was started, as far as the
-- mirror has come: that decides alone, so that a check never depends on the ledger.
function mirror.is_frozen(number, about)
  local own = about.application
  local kept = redis.call('HMGET', number, 'f:*', 'f:' .. own, 'l:*', 'l:' .. own)
  return ended(kept[1], kept[2], kept[3], kept[4], about)
end

-- Returns why the mirror lets nothing through, by its name in `/readyz`; nil when it does, and then the place that it has
-- come to. `identity` and `least` are the ledger's, as far as it is known to have come.
function mirror.closed_reason(head, identity, least)
  local place = redis.call('HMGET', head, 'identity', 'sequence', 'closed')
  if not (place[1] and place[2]) then return 'mirror-lost' end
  if place[1] ~= identity then return 'mirror-foreign' end
  if place[3] then return 'mirror-diverged' end
  if tonumber(place[2]) < tonumber(least) then return 'mirror-behind' end
  return nil, place[2]
end

-- Returns the name of this run of the server and of what it followed last, empty where it does not tell: another after a restart, a
-- restore or a take-over, also by a server that was there before. So what it followed is asked each time.
function mirror.server_name()
  local function told(section, name)
    local text = redis.pcall('INFO', section)
    return type(text) == 'string' and string.match(text, name .. ':(%x+)') or ''
  end
  run = run or told('server', 'run_id')
  return run .. told('replication', 'master_replid2')
end

-- Returns since when the mirror is there, or its server is this one, and up to which place in the ledger that matters: of what came
-- later nothing can be lost. Notes it where the server is another one: what was written to that last may be lost here.
function mirror.server_since(head)
  local kept = redis.call('HMGET', head, 'server', 'since', 'since_of')
  if kept[1] == mirror.server_name() then return tonumber(kept[2]), tonumber(kept[3]) end
  redis.call('HSET', head, 'server', mirror.server_name(), 'since', now, 'since_of', EVERYTHING)
  return now, tonumber(EVERYTHING)
end

-- Tells what is wrong with the consent to a message, of what the mirror has of it; nil for nothing.
local function without_consent(kept, demand, since, given)
  local state, from, said = string.match(kept or '', '^(%a+)|(%d+)|(-?%d+)$')
  if given then return state == 'withdrawn' and given <= tonumber(said) and 'consent-outdated' or nil end
  if state == 'withdrawn' and tonumber(from) > tonumber(since) then return 'consent-required' end
  if demand == 'required' and state ~= 'given' then return 'consent-required' end
end

-- Returns the fields that matter to an application's messages of a purpose, made once for each.
local function fields_of(application, purpose)
  local own = fields[application] or {}
  if not own[purpose] then
    fields[application], own[purpose] = own, { 's:*', 's:' .. application, 'c:' .. application .. ':' .. purpose,
      'f:*', 'f:' .. application, 'l:*', 'l:' .. application }
  end
  return own[purpose]
end

-- Returns what keeps an application's messages of a purpose from a number: 'mirror-behind', 'frozen', 'suppressed',
-- 'consent-required' or 'consent-outdated'; nil when nothing does. Then also the place in the ledger that it was looked up
-- at, and that of the last lift of a freeze, 0 for none.
-- `demand` is what the application asks for: 'required', 'recorded' or 'off'. `since` is the place from which on a
-- withdrawal counts. `given` is when the consent was given that comes with the message, nil without one.
function mirror.refusal(head, number, about, identity, least, demand, since, given)
  local closed, place = mirror.closed_reason(head, identity, least)
  if closed then return 'mirror-behind' end
  local kept = redis.call('HMGET', number, unpack(fields_of(about.application, about.purpose)))
  if ended(kept[4], kept[5], kept[6], kept[7], about) then return 'frozen' end
  for i = 1, 2 do
    if kept[i] and (kept[i] == '' or tonumber(kept[i]) > now) then return 'suppressed' end
  end
  local why = demand ~= 'off' and without_consent(kept[3], demand, since, given)
  if why then return why end
  return nil, place, mirror.later_position(kept[6], kept[7])
end
