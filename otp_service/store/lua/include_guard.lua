-- The guard of a message: reads what its rules count, tests them all, and then counts the message in all of them or in
-- none.
--
-- `sending` holds: kind (start, resend or fallback), place (home or abroad), safe (whether the fraud rules pass it), context
-- (a device's pseudonym, empty for none), number (a pseudonym), price, about (the verification).
local guard = {}
local SCOPES = { -- of the windows that a message counts in; a wrong code counts in `failed_checks`, a message does not
  start = { failed_checks = true, number = true, application = true },
  start_from_address = { failed_checks = true, number = true, ip = true, application = true },
  resend = { failed_checks = true, number = true, application = true },
  fallback = { failed_checks = true, number = true }, -- it is not the application's request
}

-- Reads the states of the subjects whose keys a list has from a place on.
function guard.read(keys, place, sending)
  local found = subjects.read(keys, place, sending.about.application)
  sending.subjects, sending.touched, sending.rule_hits, sending.new = found, {}, {}, {}
  sending.reputation = number.reputation(found.number, sending.context)
  sending.trust = sending.reputation.known_device and 'known' or 'unknown'
  limits.bind('number', found.number.sends)
  limits.bind('failed_checks', found.number.wrong)
  limits.bind('application', nil, found.application.values)
  sending.scopes = SCOPES[sending.kind]
  if found.address then
    sending.scopes = SCOPES.start_from_address
    limits.bind('ip', nil, found.address.values)
    if ruleset.has_new then sending.new = asked.are_new(found.address, sending.number, sending.about.country) end
  end
  return sending
end

-- Notes what stands against a message or a guess because of wrong codes.
function guard.test_guesses(list, state, trust)
  local wait, length, locked = number.guess_waits(state, trust)
  if ruleset.guess_wait then rule_hits.add(list, ruleset.guess_wait, wait, length, 0) end
  if ruleset.lock then rule_hits.add(list, ruleset.lock, locked, ruleset.lock.after, ruleset.lock.after) end
end

-- Notes what stands against it in the windows of some scopes.
function guard.test_windows(list, scopes, trust, reputation)
  for _, limit in ipairs(ruleset.windows) do
    if scopes[limit.scope] then
      local some = reputation.some
      if limit.scope == 'failed_checks' then some = reputation.here end -- guesses count for each application
      rule_hits.add(list, limit, limits.test(limit, trust == 'unknown' and some))
    end
  end
end

-- Tests all rules. Returns the rule hit that refuses the message, nil when none does.
function guard.test(sending)
  local list, found = sending.rule_hits, sending.subjects
  guard.test_windows(list, sending.scopes, sending.trust, sending.reputation)
  if ruleset.cooldown and sending.kind == 'start' then -- a resend has delays of its own
    local wait, length = number.cooldown(found.number, sending.trust)
    rule_hits.add(list, ruleset.cooldown, wait, length, 0)
  end
  guard.test_guesses(list, found.number, sending.trust)
  if ruleset.failures then rule_hits.add(list, ruleset.failures, failure_alarm.wait(found.application.values)) end
  spending.test(list, found.application, found.country, sending.about.country, sending.price)
  fraud.test(sending)
  local first = rule_hits.first(list)
  return first and not first.records and first or nil
end

local function write(sending)
  for name in pairs(sending.touched) do subjects.write(sending.subjects, name) end
end

-- Counts the message in everything.
function guard.count(sending)
  local found, touched = sending.subjects, sending.touched
  number.sent(found.number, sending.trust, sending.kind)
  if sending.kind == 'start' then number.started(found.number, sending.about.id) end
  if sending.scopes.application then
    limits.spend('application')
    touched.application = true
  end
  if sending.scopes.ip then
    limits.spend('ip')
    touched.address = true
  end
  if sending.price > 0 then
    local all, own = spending.add(found.application, found.country, sending.about.country, sending.price, now)
    touched.application, touched.country = touched.application or all or nil, touched.country or own or nil
  end
  fraud.count(sending)
  if sending.new.number or sending.new.country then asked.add(found.address, sending.number, sending.about.country) end
  number.write(found.number)
  write(sending)
end

-- Keeps what a refused message changed: breakers.
function guard.settle_changes(sending)
  fraud.settle_changes(sending)
  write(sending)
end

-- Reports what the rules found, and the breakers that changed. Returns the identifier of the decision, empty when there
-- is none. What follows is what a decision has besides: name, value, …
function guard.report(sending, stream, length, age, ...)
  for _, part in ipairs(sending.parts) do
    local change, about = part.change, sending.about
    if change then
      rule_hits.report_change(stream, length, age, change.rule, change.stands, change.ends, about.application, about.country, '')
    end
  end
  if #sending.rule_hits == 0 then return '' end
  return rule_hits.report(stream, length, age, sending.rule_hits, sending.about, sending.kind, sending.trust, ...)
end
