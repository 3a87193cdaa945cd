-- Checks of a user's factors and recovery codes: what they wait for, and the budget of wrong codes. That is like a number's, under
-- a key of the user's own: one for all factors and recovery codes that the user has with an application.
local factors = {}

-- Returns why nothing of a user is checked now, and for how many milliseconds where that is known: 'mirror-behind', 'settling' or
-- 'frozen'; nil for nothing. A factor is activated at a `place` in the ledger, and a code of it lives for so many milliseconds:
-- which codes were used may be forgotten where Redis was emptied, restored or taken over, until all that were are over.
function factors.closed(head, user, application, identity, min_sequence, place, life)
  if mirror.unavailable_reason(head, identity, min_sequence) then return 'mirror-behind', 0 end
  local since, of = mirror.server_since(head)
  if place > of then since = 0 end
  if fence.at then since = math.max(since, fence.at) end
  if life > 0 and since + life > now then return 'settling', since + life - now end
  if mirror.revoked({ application = application, lifted = math.huge }, mirror.basis(user)) then return 'frozen', 0 end
end

-- Returns a user's state, the trust in a device, and the rule hit that keeps guesses back, nil for none.
function factors.budget(key, application, device)
  local state, hits = number.read(key, redis.call('GET', key), application), {}
  local reputation = number.reputation(state, device, 'home')
  local trust = reputation.known_device and 'known' or 'unknown'
  guard.test_moving(hits, 'failed_checks', state.wrong, trust == 'unknown' and reputation.own_device)
  guard.test_guesses(hits, state, trust)
  local first = rule_hits.first(hits)
  return state, trust, first and not first.records and first or nil
end

-- Returns what an approval rests on: a user, a factor, if it was one's, and what the evidence that was `needed` rests on; and the
-- position of the last lift or erasure.
function factors.basis(application, user, factor, needed)
  local basis = mirror.basis(user, factor)
  local _, last = mirror.revoked({ application = application, lifted = math.huge }, basis)
  return basis .. needed.basis, math.max(last, needed.lifted)
end

-- Notes that a code was accepted now: evidence under a name that ends with the time, for `life` milliseconds. The evidence that was
-- `needed` is used by it. Returns what `factors.basis` does.
function factors.note_approval(name, application, user, factor, needed, life)
  local basis, last = factors.basis(application, user, factor, needed)
  evidence.use(needed, now)
  evidence.note(name .. '.' .. now, application, basis, last, tonumber(life))
  return basis, last
end
