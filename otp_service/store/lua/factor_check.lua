-- Checks a factor's code: takes the oldest matching step after the last one taken, once. A code that was taken before is no guess. The key
-- of the evidence comes from factor and time, revocations from its basis (same hash tag).
-- include clock fence rows counters limits number subjects targets buckets conversions rule_hits spending failure_alarm
-- include approvals newcomers fraud guard streams idempotency mirror evidence factors
local remembered = idempotency.find(key.idempotency, arg.fingerprint)
if remembered == 'mismatch' then return reply.mismatch() end
if remembered then
  local first = redis.call('HMGET', key.idempotency, 'reason', 'at', 'basis', 'lifted')
  if first[1] == '' and not mirror.is_there(key.mirror) then return reply.mirror_behind() end
  local revoked = mirror.revoked({ application = arg.application, lifted = first[4] }, first[3] or '') -- which only a right code has
  return reply.code_checked { reason = revoked and 'revoked' or first[1], at = tonumber(first[2]), seed = '',
    elsewhere = first[1] == '' and mirror.elsewhere(first[3]) or '', lifted = tonumber(first[4] or 0) }
end

local stored = redis.call('HGET', key.mirrored, 't:' .. arg.factor)
local application, place, recorded, period = string.match(stored or '', '^([^|]*)|(%d+)|(%d+)|(%d+)|')
local life = tonumber(arg.life)
local closed, wait = factors.closed(key.mirror, key.mirrored, arg.application, arg.identity, arg.min_sequence, tonumber(place or 0), life)
if closed == 'mirror-behind' then return reply.mirror_behind() end
if application ~= arg.application then return reply.not_found() end
if closed == 'settling' then return reply.settling { wait = wait } end
if closed == 'frozen' then return reply.frozen() end
local claimed = evidence.claimed(arg.claimed)
if claimed.refusal ~= '' then return reply.mirror_behind() end
local needed = evidence.needed(KEYS[key.rest], arg.application, arg.earlier_ends, claimed)
if not needed then return reply.step_up() end

local factor = { id = arg.factor, application = arg.application, purpose = arg.purpose, country = '' }

local function answer(reason, event, values, ...)
  if arg.fingerprint ~= '' then idempotency.remember(key.idempotency, arg.fingerprint, arg.remembered, 'reason', reason, 'at', now, ...) end
  values = values or {}
  values.reason = reason
  streams.report(key.events, event, factor, values)
  return reply.code_checked { reason = reason, at = now }
end

local state, trust, refusal = factors.budget(key.user, arg.application, arg.device)
if refusal then return answer('factor_locked', 'factor.refused', { rule = refusal.rule }) end

local present, last = math.floor(now / (1000 * period)), math.max(recorded, redis.call('GET', key.step) or 0)
local taken, used
for _, typed in ipairs({ unpack(ARGV, arg.rest) }) do
  local step = tonumber(typed)
  if step >= present - arg.late and step <= present + arg.early then
    if step <= last then used = true else taken = taken or step end
  end
end
if taken then
  redis.call('SET', key.step, taken, 'PX', life + arg.grace)
  number.approved(state, trust, arg.device)
  number.write(state)
  local basis, lifted = factors.note_approval(arg.evidence .. arg.factor, arg.application, key.mirrored, arg.factor, needed, arg.evidence_life)
  return answer('', 'factor.approved', { step = taken }, 'basis', basis, 'lifted', lifted)
end
if used then return answer('code_used', 'factor.code_used') end
local locks = number.guessed_wrong(state, trust)
number.write(state)
return answer('wrong_code', locks and 'factor.locked' or 'factor.failed')
