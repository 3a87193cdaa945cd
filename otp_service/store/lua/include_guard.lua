-- The guard of a message: reads what its rules count, tests them all, and then counts the message in all of them or in
-- none.
--
-- `sending` holds: kind (start, resend or fallback), scopes (of the windows that count), place (home or abroad), safe
-- (whether the fraud rules pass it), context (a pseudonym, empty for none), number (a pseudonym), price, about (the
-- verification).
local guard = {}

-- Reads everything: the guard's keys, which KEYS has from a place on, and after them those of the windows; and further keys
-- of the guard that a record remembers.
function guard.read(place, further, sending)
  local keys = KEYS
  if #further > 0 then
    for i = place, #KEYS do further[#further + 1] = KEYS[i] end
    keys, place = further, 1
  end
  sending.keys, sending.kept, place = states.read(keys, place)
  sending.reputation = reputation.read(sending.kept.reputation, sending.context, sending.about.application)
  sending.trust = sending.reputation.known_device and 'known' or 'unknown'
  sending.windows = limits.windows(keys, place, sending.scopes)
  sending.rule_hits, sending.new = {}, {}
  if sending.keys.asked then
    if next(sending.kept.address) then
      local asked = redis.call('SMISMEMBER', sending.keys.asked, sending.number, sending.about.country)
      sending.new = { number = asked[1] == 0, country = asked[2] == 0 }
    else -- what an address asked for is not kept longer than what it was counted for
      sending.new = { number = true, country = true }
    end
  end
  return sending
end

-- Tests all rules. Returns the rule hit that refuses the message, nil when none does.
function guard.test(sending)
  local list, kept = sending.rule_hits, sending.kept
  for _, limit in ipairs(sending.windows) do
    local some = sending.reputation.some
    if limit.scope == 'failed_checks' then some = sending.reputation.here end -- guesses count for each application
    rule_hits.add(list, limit, limits.test(limit, sending.trust == 'unknown' and some))
  end
  if ruleset.cooldown and sending.kind == 'start' then -- a resend has delays of its own
    local wait, run = waits.left(ruleset.cooldown, kept.cooldown, sending.trust)
    rule_hits.add(list, ruleset.cooldown, wait, run, 0)
  end
  guesses.test(list, kept.guesses, sending.trust)
  if ruleset.failures and kept.failures then rule_hits.add(list, ruleset.failures, failure_alarm.wait(kept.failures)) end
  spending.test(list, kept, sending.about.country, sending.price)
  fraud.test(sending)
  local first = rule_hits.first(list)
  return first and not first.records and first or nil
end

-- Counts the message in everything.
function guard.count(sending)
  limits.spend(sending.windows, 'failed_checks') -- it is tested against wrong codes, but is none
  if ruleset.cooldown and sending.kind ~= 'fallback' then
    waits.add(ruleset.cooldown, sending.kept.cooldown, sending.trust)
    states.write(sending.keys.cooldown, sending.kept.cooldown, ruleset.cooldown.reset_after)
  end
  if sending.price > 0 then
    spending.add(sending.keys, sending.kept, sending.about.country, sending.price, now)
  end
  fraud.count(sending)
  if sending.new.number or sending.new.country then
    local added = redis.call('SADD', sending.keys.asked, sending.number, sending.about.country)
    if added == 2 then redis.call('PEXPIRE', sending.keys.asked, ruleset.lifetimes.asked, 'NX') end -- it may be new
  end
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
