-- Wrong codes for one number, in one application, over all verifications: windows, waits that grow, and a lock after many
-- in a row. Kept: a run for each lane, `row` (all of them since an approval), and `ends` (when the lock ends).
local guesses = {}

-- Notes what stands against a guess now, the windows apart.
function guesses.test(list, kept, lane)
  if ruleset.guess_wait then
    local wait, run = waits.left(ruleset.guess_wait, kept, lane)
    findings.note(list, ruleset.guess_wait, wait, run, 0)
  end
  if ruleset.lock then findings.note(list, ruleset.lock, (kept.ends or 0) - now, ruleset.lock.after, ruleset.lock.after) end
end

-- Reads what counts for a guess. `windows` and `own` begin the keys that the number ends.
function guesses.read(found, windows, own, failures)
  local flags, context = approvals.remembered(found)
  local keys = { own .. 'standing/' .. found.pseudonym, own .. 'cooldown/' .. found.pseudonym,
    own .. 'guesses/' .. found.application .. '/' .. found.pseudonym, failures }
  for _, rule in ipairs(ruleset.windows) do
    if rule.scope == 'failed_checks' then keys[#keys + 1] = windows .. found.pseudonym .. '/' .. rule.seconds end
  end
  local guessing = { context = context, findings = {} }
  local place
  guessing.keys, guessing.kept, place = states.read(keys, 1)
  guessing.standing = standing.of(guessing.kept.standing, context, found.application)
  guessing.application = found.application
  guessing.lane = (flags.f or guessing.standing.familiar) and 'known' or 'strange'
  guessing.windows = limits.of(keys, place, 'failed_checks')
  return guessing
end

-- Tests whether a code may be compared. Returns the finding that refuses it, nil when none does.
function guesses.refusal(guessing)
  for _, limit in ipairs(guessing.windows) do
    local stranger = guessing.lane == 'strange' and guessing.standing.here
    findings.note(guessing.findings, limit, limits.test(limit, stranger))
  end
  guesses.test(guessing.findings, guessing.kept.guesses, guessing.lane)
  local first = findings.first(guessing.findings)
  return first and not first.records and first or nil
end

-- Counts a wrong code.
function guesses.wrong(guessing)
  local kept = guessing.kept.guesses
  limits.spend(guessing.windows)
  if ruleset.guess_wait then waits.add(ruleset.guess_wait, kept, guessing.lane) end
  kept.row = (kept.row or 0) + 1
  if ruleset.lock and kept.row >= ruleset.lock.after then
    kept.ends, kept.row = now + ruleset.lock.length, 0
  end
  states.write(guessing.keys.guesses, kept, ruleset.lives.guesses)
end

-- An approval ends the runs of its own lane, and the row of all; the number is known from now on, and the context.
function guesses.approved(guessing)
  for _, part in ipairs({ 'guesses', 'cooldown' }) do
    local kept = guessing.kept[part]
    if kept[guessing.lane] or kept.row then
      kept[guessing.lane], kept.row = nil, nil
      states.write(guessing.keys[part], kept, ruleset.lives[part])
    end
  end
  standing.approve(guessing.keys.standing, guessing.kept.standing, guessing.context, guessing.application)
end
