-- Checks a code: counts, compares and consumes in one step. Of any number of parallel right answers exactly
-- one wins; of any number of wrong ones no more are compared than the budgets allow.
--
-- KEYS[1] the record    KEYS[2] events    KEYS[3] idempotency key; the record again when there is none
-- KEYS[4] decisions     KEYS[5] evidence of the approval    KEYS[6] the mirror's head
-- KEYS[7] application
-- ARGV[1] application   ARGV[2] tag of the code as typed   ARGV[3] digits typed
-- ARGV[4] digest of the transaction, empty without one
-- ARGV[5] idempotency fingerprint, empty without one
-- ARGV[6] greatest age of the decisions in milliseconds             ARGV[7] their greatest length
-- ARGV[8] beginning of the keys of numbers
-- ARGV[9] beginning of the keys of what the mirror says of numbers
-- ARGV[10] whether an approval is answered with the record, 1 or 0
-- ARGV[11] pseudonym of the number that the caller expects, empty where any will do
-- ARGV[12] for how many milliseconds an approval is evidence, by its purpose, and '' for any other: JSON; empty for none
-- ARGV[13] identifier of the request, empty outside the API
-- Derives: the number, and what the mirror says of it, from the record's pseudonym; what else it rests on (same hash tag)
-- Returns one of: {'not-found'} {'number-mismatch'} {'mismatch'} {'invalid-code', length} {'transaction-missing'}
--                 {'transaction-unwanted'} {'checked', status, reason, checks left, when, whether the application's
--                 alarm was raised, record} {'withheld', 'mirror-behind'}
-- include clock fence rows counters limits number subjects targets buckets conversions rule_hits spending failure_alarm
-- include approvals newcomers fraud guard streams idempotency record mirror evidence

local found = record.read(KEYS[1], ARGV[1])
if not found then return { 'not-found' } end
if ARGV[11] ~= '' and ARGV[11] ~= found.pseudonym then return { 'number-mismatch' } end
local function approved_record(reason)
  return reason == '' and ARGV[10] == '1' and record.read_all(KEYS[1]) or {}
end

local basis = mirror.basis(ARGV[9] .. found.pseudonym) .. found.basis
local remembered = idempotency.find(KEYS[3], ARGV[5])
if remembered == 'mismatch' then return { 'mismatch' } end
if remembered then
  local first = redis.call('HMGET', KEYS[3], 'reason', 'checks_left', 'at')
  if first[1] == '' and not mirror.is_there(KEYS[6]) then return { 'withheld', 'mirror-behind' } end
  if first[1] == '' and mirror.revoked(found, basis) then
    return { 'checked', found.status, 'revoked', 0, tonumber(first[3]), 0, {} }
  end
  local over = found.status == 'pending' and now >= found.expires
  return { 'checked', over and 'expired' or found.status, first[1], tonumber(first[2]), tonumber(first[3]), 0,
    approved_record(first[1]) }
end

local max_checks, alarm = tonumber(found.max_checks), 0
local request = ARGV[13] ~= '' and ARGV[13] or nil

-- Every answer to a check that was understood: told to the caller; what changed anything is remembered and reported.
local function answer(status, reason, event, values)
  local left = (status == 'pending' or reason == '') and max_checks - found.checks or 0
  if event then -- what is final answers the same without being remembered: pages with a client token may ask for ever
    idempotency.remember_with(KEYS[1], KEYS[3], ARGV[5], 'reason', reason, 'checks_left', left, 'at', now)
    values = values or {}
    values.reason, values.request = reason, request
    streams.report(KEYS[2], event, found, values)
  end
  return { 'checked', status, reason, left, now, alarm, approved_record(reason) }
end

if found.status == 'approved' then return answer('approved', 'already_approved') end
if found.status ~= 'pending' then return answer(found.status, found.status) end
if now >= found.expires then
  record.finish(found, 'expired')
  return answer('expired', 'expired', 'verification.expired')
end

if ARGV[3] ~= found.code_length then return { 'invalid-code', tonumber(found.code_length) } end
if found.transaction ~= '' and ARGV[4] == '' then return { 'transaction-missing' } end
if found.transaction == '' and ARGV[4] ~= '' then return { 'transaction-unwanted' } end
if ARGV[4] ~= found.transaction then
  record.finish(found, 'failed')
  return answer('failed', 'transaction_changed', 'verification.failed')
end

local subjects_found = subjects.read({ ARGV[8] .. found.pseudonym, KEYS[7] }, 1, found.application)
local state, application, device = subjects_found.number, subjects_found.application, found.context
local reputation = number.reputation(state, device, approvals.has(found, 'h') and 'home' or 'abroad')
local trust = (approvals.has(found, 'f') or reputation.known_device) and 'known' or 'unknown'
local hits = {}
guard.test_moving(hits, 'failed_checks', state.wrong, trust == 'unknown' and reputation.device_here)
guard.test_guesses(hits, state, trust)
if #hits > 0 then rule_hits.report(KEYS[4], ARGV[7], ARGV[6], hits, found, 'check', trust) end
local refusal = rule_hits.first(hits)
if refusal and not refusal.records then return answer('pending', 'number_locked', 'check.refused', { rule = refusal.rule }) end

found.checks = found.checks + 1
local right = record.is_tag(found, ARGV[2]) -- two keyed MACs: how long the comparison takes tells nothing of the code
if right and found.basis ~= '' and not mirror.is_there(KEYS[6]) then return { 'withheld', 'mirror-behind' } end
local revoked = right and mirror.revoked(found, basis)
if revoked then
  record.finish(found, 'canceled')
  streams.report(KEYS[2], 'verification.canceled', found, { reason = revoked, request = request })
  return answer('canceled', 'canceled')
end
if ruleset.failures then
  local ends, text = failure_alarm.count(application, right)
  if ends then
    alarm = 1
    rule_hits.report_change(KEYS[4], ARGV[7], ARGV[6], ruleset.failures, 'alarm', ends, found.application, '', text)
  end
  subjects.write(subjects_found)
end
if right then
  number.approved(state, trust, device)
  number.write(state)
  record.finish(found, 'approved')
  if ARGV[12] ~= '' then
    local lives = cjson.decode(ARGV[12])
    evidence.note(KEYS[5], found.application, basis, found.lifted, lives[found.purpose] or lives[''])
  end
  return answer('approved', '', 'verification.approved',
    { known = reputation.approved and 1 or 0, guard = found.guard, created = found.created })
end
number.guessed_wrong(state, trust)
number.write(state)
if found.checks < max_checks then
  record.write(found)
  return answer('pending', 'wrong_code', 'check.failed')
end
record.finish(found, 'max_attempts_reached')
return answer('max_attempts_reached', 'wrong_code', 'verification.max_attempts_reached')
