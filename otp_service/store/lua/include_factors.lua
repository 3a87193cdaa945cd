-- Checks of a user's factors and recovery codes. They share one budget of wrong codes, kept like a number's.
local factors = {}

-- Returns why no code of a user is checked now ('mirror-behind', 'settling', 'frozen' or nil), and the milliseconds to wait. A Redis that
-- was emptied, restored or taken over may forget used codes: checks wait for their `life`, unless the factor is newer (its `place`).
function factors.closed(head, user, application, identity, min_sequence, place, life)
  if mirror.unavailable_reason(head, identity, min_sequence) then return 'mirror-behind', 0 end
  local since, of = mirror.server_since(head)
  if place > of then since = 0 end
  if fence.at then since = math.max(since, fence.at) end
  if life > 0 and since + life > now then return 'settling', since + life - now end
  if mirror.revoked({ application = application, lifted = math.huge }, mirror.basis(user)) then return 'frozen', 0 end
end

-- Returns a user's state, the trust in the device, and the rule hit that refuses, nil for none.
function factors.budget(key, application, device)
  local state, hits = number.read(key, redis.call('GET', key), application), {}
  local reputation = number.reputation(state, device, 'home')
  local trust = reputation.known_device and 'known' or 'unknown'
  guard.test_moving(hits, 'failed_checks', state.wrong, trust == 'unknown' and reputation.own_device)
  guard.test_guesses(hits, state, trust)
  local first = rule_hits.first(hits)
  return state, trust, first and not first.records and first or nil
end

-- Returns the basis of an approval (user, factor, basis of the evidence used) and the position of the last lift or erasure.
function factors.basis(application, user, factor, needed)
  local basis = mirror.basis(user, factor)
  local _, last = mirror.revoked({ application = application, lifted = math.huge }, basis)
  return basis .. needed.basis, math.max(last, needed.lifted)
end

-- Notes an approval as evidence, and the use of the evidence `needed`. Returns what `factors.basis` does.
function factors.note_approval(name, application, user, factor, needed, life)
  local basis, last = factors.basis(application, user, factor, needed)
  evidence.use(needed, now)
  evidence.note(name .. '.' .. now, application, basis, last, tonumber(life))
  return basis, last
end
