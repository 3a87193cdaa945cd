-- Counts a code of a user that is compared elsewhere: a recovery code, or a factor's first code. Repeated with its idempotency key it is
-- answered as before. The key of the evidence comes from the time, revocations from its basis (same hash tag).
-- include clock fence rows counters limits number subjects targets buckets conversions rule_hits spending failure_alarm
-- include approvals newcomers fraud guard streams idempotency mirror evidence factors
local remembered = idempotency.find(key.idempotency, arg.fingerprint)
if remembered == 'mismatch' then return reply.mismatch() end
local first = by_name(remembered or {})
local seed = first.seed or arg.seed
if first.basis and first.basis ~= '' and not mirror.is_there(key.mirror) then return reply.mirror_behind() end
local revoked = mirror.revoked({ application = arg.application, lifted = first.lifted }, first.basis or '') -- which no wrong code has
if revoked or first.reason then
  return reply.code_checked { reason = revoked and 'revoked' or first.reason, at = tonumber(first.at), seed = seed,
    elsewhere = mirror.elsewhere(first.basis), lifted = tonumber(first.lifted or 0) }
end
if arg.result == 'repeated' then return reply.not_found() end

local closed = factors.closed(key.mirror, key.mirrored, arg.application, arg.identity, arg.min_sequence, 0, 0)
if closed == 'mirror-behind' then return reply.mirror_behind() end
if closed == 'frozen' then return reply.frozen() end
local claimed = evidence.claimed(arg.claimed)
if claimed.refusal ~= '' then return reply.mirror_behind() end
local needed = evidence.needed(KEYS[key.rest], arg.application, arg.earlier_ends, claimed, seed)
if not needed then return reply.step_up() end

local function remember(basis, lifted, ...)
  if arg.fingerprint == '' then return end
  idempotency.remember(key.idempotency, arg.fingerprint, arg.remembered, 'at', now, 'basis', basis, 'lifted', lifted, 'seed', seed, ...)
end

local function answer(reason, event, rule, basis, lifted)
  local subject = { id = arg.id, application = arg.application, purpose = '', country = '' }
  if event ~= '' then streams.report(key.events, event, subject, { reason = reason, rule = rule }) end
  remember(basis or '', lifted or 0, 'reason', reason)
  if reason ~= '' then evidence.release(needed) end
  return reply.code_checked { reason = reason, at = now, seed = seed }
end

local state, trust, refusal = factors.budget(key.user, arg.application, arg.device)
if refusal and arg.result ~= 'right' then return answer('factor_locked', 'factor.refused', refusal.rule) end
if arg.result == '' then -- the ledger is asked next, which spends a right code: so nothing else may use the evidence meanwhile
  evidence.reserve(needed, seed)
  remember(factors.basis(arg.application, key.mirrored, nil, needed))
  return reply.code_checked { reason = '', at = now, seed = seed }
end
if arg.result == 'first' then
  local enrolled = redis.call('HGET', key.enrolment, 'lifted')
  if not enrolled or mirror.revoked({ application = arg.application, lifted = enrolled }, mirror.basis(key.mirrored)) then
    return reply.not_found() -- also where it was enrolled before a freeze that was lifted since, or before an erasure
  end
  if tonumber(arg.step) <= tonumber(redis.call('HGET', key.enrolment, 'step') or 0) then
    return answer('code_used', 'factor.code_used')
  end
  redis.call('HSET', key.enrolment, 'step', arg.step)
  return answer('', arg.event, nil, factors.basis(arg.application, key.mirrored, nil, needed))
end
if arg.result == 'right' then
  number.approved(state, trust, arg.device)
  number.write(state)
  return answer('', arg.event, nil, factors.note_approval(arg.evidence, arg.application, key.mirrored, nil, needed, arg.evidence_life))
end
local locks = arg.result == 'wrong_code' and number.guessed_wrong(state, trust)
number.write(state)
return answer(arg.result, locks and 'factor.locked' or arg.event)
