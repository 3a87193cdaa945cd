-- Wrong codes for one number, in one application, over all verifications: windows, waits that grow, and a lock after many
-- in a row. Kept: a run for known and one for unknown devices, `row` (all of them since an
-- approval), and `ends` (when the lock ends).
local guesses = {}

-- Notes what stands against a guess now, the windows apart.
function guesses.test(list, kept, trust)
  if ruleset.guess_wait then
    local wait, run = waits.left(ruleset.guess_wait, kept, trust)
    rule_hits.add(list, ruleset.guess_wait, wait, run, 0)
  end
  if ruleset.lock then rule_hits.add(list, ruleset.lock, (kept.ends or 0) - now, ruleset.lock.after, ruleset.lock.after) end
end

-- Reads what counts for a guess. `windows` and `own` begin the keys that the number ends.
function guesses.read(found, windows, own, failures)
  local flags, context = approvals.read(found)
  local keys = { own .. 'reputation/' .. found.pseudonym, own .. 'cooldown/' .. found.pseudonym,
    own .. 'guesses/' .. found.application .. '/' .. found.pseudonym, failures }
  for _, rule in ipairs(ruleset.windows) do
    if rule.scope == 'failed_checks' then keys[#keys + 1] = windows .. found.pseudonym .. '/' .. rule.seconds end
  end
  local guessing = { context = context, rule_hits = {} }
  local place
  guessing.keys, guessing.kept, place = states.read(keys, 1)
  guessing.reputation = reputation.read(guessing.kept.reputation, context, found.application)
  guessing.application = found.application
  guessing.trust = (flags.f or guessing.reputation.known_device) and 'known' or 'unknown'
  guessing.windows = limits.windows(keys, place, 'failed_checks')
  return guessing
end

-- Tests whether a code may be compared. Returns the rule hit that refuses it, nil when none does.
function guesses.refusal(guessing)
  for _, limit in ipairs(guessing.windows) do
    local unknown_device = guessing.trust == 'unknown' and guessing.reputation.here
    rule_hits.add(guessing.rule_hits, limit, limits.test(limit, unknown_device))
  end
  guesses.test(guessing.rule_hits, guessing.kept.guesses, guessing.trust)
  local first = rule_hits.first(guessing.rule_hits)
  return first and not first.records and first or nil
end

-- Counts a wrong code.
function guesses.wrong(guessing)
  local kept = guessing.kept.guesses
  limits.spend(guessing.windows)
  if ruleset.guess_wait then waits.add(ruleset.guess_wait, kept, guessing.trust) end
  kept.row = (kept.row or 0) + 1
  if ruleset.lock and kept.row >= ruleset.lock.after then
    kept.ends, kept.row = now + ruleset.lock.length, 0
  end
  states.write(guessing.keys.guesses, kept, ruleset.lifetimes.guesses)
end

-- An approval ends the run of its own kind of device, and the row of all; the number is known from now on, and the context.
function guesses.approved(guessing)
  for _, part in ipairs({ 'guesses', 'cooldown' }) do
    local kept = guessing.kept[part]
    if kept[guessing.trust] or kept.row then
      kept[guessing.trust], kept.row = nil, nil
      states.write(guessing.keys[part], kept, ruleset.lifetimes[part])
    end
  end
  reputation.approve(guessing.keys.reputation, guessing.kept.reputation, guessing.context, guessing.application)
end
