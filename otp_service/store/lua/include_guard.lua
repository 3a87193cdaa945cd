-- The guard of a message: tests all rules, then counts the message in all of them or in none. `attempt` has kind (start, resend, fallback),
-- zone (home, abroad), allowlisted (exempt from fraud rules), price, verification, passed (a human check), range (the number's prefix).
local guard = {}
local NOTHING_NEW, NO_QUOTA = {}, { amount = 0, used = 0, ttl = 0 }
local ONCE = 600000
guard.CHECK = { [true] = { passed = 'yes' }, [false] = { passed = 'no' } } -- what a bucket may demand, by whether a human check was passed

-- Reads the states of the subjects whose keys a list has from a place on.
function guard.read(keys, place, attempt)
  local states = subjects.read(keys, place, attempt.verification.application)
  attempt.subjects, attempt.rule_hits, attempt.new = states, {}, NOTHING_NEW
  attempt.check = guard.CHECK[attempt.passed]
  attempt.reputation = number.reputation(states.number, attempt.verification.context, attempt.zone)
  attempt.trust = attempt.reputation.known_device and 'known' or 'unknown'
  if states.address and ruleset.has_new then
    attempt.new = targets.are_new(states.address, attempt.verification.pseudonym, attempt.verification.country)
  end
  return attempt
end

-- Adds a rule hit for each full moving window. Unknown devices have a smaller share; an application's known devices keep `own` times.
function guard.test_moving(list, scope, times, unknown_device, own)
  if times == '' then return end -- all windows have room for one
  local windows = ruleset.windows[scope]
  for i = 1, #windows do
    local window = windows[i]
    local max_count = unknown_device and window.for_unknown or window.amount
    local wait = limits.moving_wait(window, times, max_count)
    if wait > 0 and own and window.for_known then wait = math.min(wait, limits.moving_wait(window, own, window.for_known)) end
    if wait > 0 then rule_hits.add(list, window, wait, max_count, max_count) end
  end
end

-- The same for sliding windows, which count the message at once: a refused message's row is not written.
function guard.test_sliding(list, scope, row)
  local windows = ruleset.windows[scope]
  row.changed = true
  for i = 1, #windows do
    local window = windows[i]
    local wait = limits.sliding_wait(window, row, window.amount)
    if window.full then wait = limits.shared_wait(window, row, wait) end
    if wait > 0 then rule_hits.add(list, window, wait, window.used, window.amount) end
    row[window.place] = row[window.place] + 1
  end
end

function guard.test_guesses(list, state, trust)
  local wait, length, locked = number.guess_waits(state, trust)
  if wait > 0 then rule_hits.add(list, ruleset.guess_wait, wait, length, 0) end
  if locked > 0 and ruleset.lock then rule_hits.add(list, ruleset.lock, locked, ruleset.lock.after, ruleset.lock.after) end
end

-- Tests all rules. Returns the rule hit that refuses, nil for none, and the application's quota (amount, used, ttl). A further message, or
-- a known device's, counts in no window of its address; a fall-back, which the application did not request, in none of the application.
function guard.test(attempt)
  local list, states, reputation, unknown = attempt.rule_hits, attempt.subjects, attempt.reputation, attempt.trust == 'unknown'
  guard.test_moving(list, 'failed_checks', states.number.wrong, unknown and reputation.own_device) -- guesses count by application
  guard.test_moving(list, 'number', states.number.sends, unknown and reputation.some_device, not unknown and states.number.own)
  if states.address and unknown then guard.test_sliding(list, 'ip', states.address) end
  if attempt.kind ~= 'fallback' then guard.test_sliding(list, 'application', states.application) end
  if ruleset.cooldown and attempt.kind == 'start' then -- a resend has delays of its own
    local wait, length = number.cooldown(states.number, attempt.trust)
    if wait > 0 then rule_hits.add(list, ruleset.cooldown, wait, length, 0) end
  end
  guard.test_guesses(list, states.number, attempt.trust)
  if unknown and ruleset.failures then
    local wait, wrong, all = failure_alarm.wait(states.application)
    if wait > 0 then rule_hits.add(list, ruleset.failures, wait, wrong, all) end
  end
  if ruleset.has_ceilings then
    spending.test(list, states.application, states.country, attempt.verification.country, attempt.price)
  end
  newcomers.test(attempt)
  fraud.test(attempt)
  return rule_hits.refusal(list), attempt.kind ~= 'fallback' and ruleset.quota or NO_QUOTA
end

-- Tells whether an address (IPv6: a /48), or a number without an address, needs or passes its first human check in ten minutes.
local function is_first(verification, event)
  local name = verification.prefix_48 ~= '' and verification.prefix_48 or verification.ip_prefix ~= '' and verification.ip_prefix or verification.pseudonym
  local seen = subjects.tagged(verification.key, 'asked:' .. verification.application .. '/' .. math.floor(now / ONCE))
  local first = redis.call('PFADD', seen, event .. name) == 1
  if first then redis.call('PEXPIRE', seen, 2 * ONCE) end
  return first
end

function guard.count(attempt)
  local states, verification, state = attempt.subjects, attempt.verification, attempt.subjects.number
  number.sent(state, attempt.trust, attempt.kind)
  if attempt.kind == 'start' then number.started(state, verification.id) else number.resent(state, verification.id) end
  number.write(state)
  if attempt.new.number or attempt.new.country then targets.add(states.address, verification.pseudonym, verification.country) end
  if attempt.price > 0 then spending.add(states, verification.country, attempt.price, now) end
  if attempt.kind == 'start' and attempt.passed_under_suspicion then attempt.repeated = not is_first(verification, 'passed') end
  subjects.write(states)
end

-- Counts a start that needs a human check in its application's and address's windows. Tells whether it counts as traffic of unknown
-- numbers: once in ten minutes for an address, or a single caller could keep an alarm up.
function guard.count_asked(attempt)
  local application, address = attempt.subjects.application, attempt.subjects.address
  local longest = ruleset.windows.ip.longest
  rows.write(application, application.life)
  if address and longest > 0 then
    local row, hits = rows.unpack(address.key, redis.call('GET', address.key), ruleset.layouts.address), {}
    guard.test_sliding(hits, 'ip', row)
    if not rule_hits.refusal(hits) then rows.write(row, math.max(2 * longest, redis.call('PTTL', address.key))) end
    address.unsummed = row.unsummed
  end
  return attempt.suspected and is_first(attempt.verification, 'asked')
end

-- Returns the subjects whose windows a worker is to sum over the buckets, blanks between; nil for none.
function guard.to_sum(attempt)
  local application, address = attempt.subjects.application, attempt.subjects.address
  local names = (application.unsummed and 'application ' or '') .. (address and address.unsummed and 'address' or '')
  application.unsummed = nil -- the row may be used again
  if address then address.unsummed = nil end
  return names ~= '' and names or nil
end

-- Reports changed breakers and the rule hits, with further fields (name, value, …). Returns the decision's identifier, empty for none.
function guard.report(attempt, stream, length, age, ...)
  local verification, changes = attempt.verification, attempt.changes
  for i = 1, #changes do
    local change = changes[i]
    rule_hits.report_change(stream, length, age, change.part.breaker, change.stands, change.ends, verification.application,
      verification.country, '')
  end
  if #attempt.rule_hits == 0 then return '' end
  return rule_hits.report(stream, length, age, attempt.rule_hits, verification, attempt.kind, attempt.trust, ...)
end
