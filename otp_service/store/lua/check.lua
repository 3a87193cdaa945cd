-- Checks a code: counts, compares and consumes in one step. One of parallel right answers wins; the budgets bound wrong ones. Mirror's entry
-- and revocations come from the record (same hash tag); those of other buckets a process reads (revocation_read), and calls again.
-- include clock fence rows counters limits number subjects targets buckets conversions rule_hits spending failure_alarm
-- include approvals newcomers fraud guard streams idempotency record mirror evidence
local verification = record.read(key.record, arg.application)
if not verification then return reply.not_found() end
if arg.pseudonym ~= '' and arg.pseudonym ~= verification.pseudonym then return reply.number_mismatch() end
local function approved_record(reason)
  return reason == '' and arg.with_record == '1' and record.read_all(key.record) or {}
end

local basis = mirror.basis(arg.mirrored .. verification.pseudonym) .. verification.basis
local elsewhere = arg.elsewhere == '' and mirror.elsewhere(verification.basis) or '' -- what a process has to look at first
local remembered = idempotency.find(key.idempotency, arg.fingerprint)
if remembered == 'mismatch' then return reply.mismatch() end
if remembered then
  local first = redis.call('HMGET', key.idempotency, 'reason', 'checks_left', 'at')
  if first[1] == '' and not mirror.is_there(key.mirror) then return reply.mirror_behind() end
  if first[1] == '' and elsewhere ~= '' then return reply.elsewhere { basis = elsewhere, lifted = verification.lifted } end
  if first[1] == '' and mirror.revoked(verification, basis, arg.elsewhere) then
    return reply.checked { status = verification.status, reason = 'revoked', checks_left = 0, at = tonumber(first[3]), alarm = 0,
      record = {} }
  end
  return reply.checked { status = record.status(verification), reason = first[1], checks_left = tonumber(first[2]),
    at = tonumber(first[3]), alarm = 0, record = approved_record(first[1]) }
end

local max_checks, alarm = tonumber(verification.max_checks), 0
local request = arg.request ~= '' and arg.request or nil

local function answer(status, reason, event, values)
  local left = (status == 'pending' or reason == '') and max_checks - verification.checks or 0
  if event then -- a final answer is the same again without being remembered: pages with a client token may ask for ever
    idempotency.remember_with(key.record, key.idempotency, arg.fingerprint, 'reason', reason, 'checks_left', left, 'at', now)
    values = values or {}
    values.reason, values.request = reason, request
    streams.report(key.events, event, verification, values)
  end
  return reply.checked { status = status, reason = reason, checks_left = left, at = now, alarm = alarm,
    record = approved_record(reason) }
end

if verification.status == 'approved' then return answer('approved', 'already_approved') end
if verification.status ~= 'pending' then return answer(verification.status, verification.status) end
if now >= verification.expires then
  record.finish(verification, 'expired')
  return answer('expired', 'expired', 'verification.expired')
end

if arg.code_length ~= verification.code_length then return reply.wrong_length { code_length = tonumber(verification.code_length) } end
if verification.transaction ~= '' and arg.transaction == '' then return reply.transaction_missing() end
if verification.transaction == '' and arg.transaction ~= '' then return reply.transaction_unwanted() end
if arg.transaction ~= verification.transaction then
  record.finish(verification, 'failed')
  return answer('failed', 'transaction_changed', 'verification.failed')
end

local states = subjects.read({ arg.numbers .. verification.pseudonym, key.application }, 1, verification.application)
local state, application, device = states.number, states.application, verification.context
local reputation = number.reputation(state, device, approvals.has(verification, 'h') and 'home' or 'abroad')
local trust = (approvals.has(verification, 'f') or reputation.known_device) and 'known' or 'unknown'
local hits = {}
guard.test_moving(hits, 'failed_checks', state.wrong, trust == 'unknown' and reputation.own_device)
guard.test_guesses(hits, state, trust)
local refusal = rule_hits.first(hits)
local is_locked = refusal and not refusal.records
local right = verification.tag == record.stored_tag(arg.tag) -- two keyed MACs: how long the comparison takes tells nothing of the code
if right and not is_locked and elsewhere ~= '' then return reply.elsewhere { basis = elsewhere, lifted = verification.lifted } end
if #hits > 0 then rule_hits.report(key.decisions, arg.max_decisions, arg.max_age, hits, verification, 'check', trust) end
if is_locked then return answer('pending', 'number_locked', 'check.refused', { rule = refusal.rule }) end

verification.checks = verification.checks + 1
if right and verification.basis ~= '' and not mirror.is_there(key.mirror) then return reply.mirror_behind() end
local revoked = right and mirror.revoked(verification, basis, arg.elsewhere)
if revoked then
  record.finish(verification, 'canceled')
  streams.report(key.events, 'verification.canceled', verification, { reason = revoked, request = request })
  return answer('canceled', 'canceled')
end
if ruleset.failures then
  local ends, text = failure_alarm.count(application, right)
  if ends then
    alarm = 1
    rule_hits.report_change(key.decisions, arg.max_decisions, arg.max_age, ruleset.failures, 'alarm', ends, verification.application, '', text)
  end
  subjects.write(states)
end
if right then
  number.approved(state, trust, device)
  number.write(state)
  record.finish(verification, 'approved')
  if arg.evidence_lives ~= '' then
    local lives = cjson.decode(arg.evidence_lives)
    evidence.note(key.evidence, verification.application, basis, verification.lifted, lives[verification.purpose] or lives[''])
  end
  return answer('approved', '', 'verification.approved',
    { known = reputation.approved and 1 or 0, guard = verification.guard, created = verification.created })
end
number.guessed_wrong(state, trust)
number.write(state)
if verification.checks < max_checks then
  record.write(verification)
  return answer('pending', 'wrong_code', 'check.failed')
end
record.finish(verification, 'max_attempts_reached')
return answer('max_attempts_reached', 'wrong_code', 'verification.max_attempts_reached')
