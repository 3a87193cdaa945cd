-- Checks a code of a factor: takes the oldest step whose code was typed and that comes after the last one that was taken. Of any
-- number of parallel right answers exactly one wins. A right code that was taken before is no guess.
--
-- KEYS[1] the user   KEYS[2] what the mirror says of the user   KEYS[3] the mirror's head   KEYS[4] the last step that was taken
-- KEYS[5] events     KEYS[6] idempotency key; the last step again when there is none
-- KEYS[7] evidence of an earlier approval, where the purpose needs one, and it is in this slot
-- ARGV[1] application   ARGV[2] the factor   ARGV[3] identity of the ledger   ARGV[4] position in it that the mirror must have reached
-- ARGV[5] steps that a code may come late   ARGV[6] steps that it may come early   ARGV[7] milliseconds that it lives, at most
-- ARGV[8] milliseconds to know the last step after that   ARGV[9] the device, empty where it is not known   ARGV[10] purpose
-- ARGV[11] idempotency fingerprint, empty without one   ARGV[12] milliseconds to remember it
-- ARGV[13] beginning of the keys of evidence   ARGV[14] milliseconds for which an approval is evidence, 0 where nothing proves it
-- ARGV[15] when the earlier approval is too old, in milliseconds; empty where the purpose needs none
-- ARGV[16] and following: the steps whose code was typed, the oldest first
-- Derives: the key of the evidence, from the factor and the time, and what other evidence rests on (same hash tag)
-- Returns one of: {'checked', reason, when} {'not-found'} {'mismatch'} {'mirror-behind'} {'settling', milliseconds} {'frozen'}
--                 {'step-up'}
-- include clock fence rows counters limits number subjects targets buckets conversions rule_hits spending failure_alarm
-- include approvals newcomers fraud findings guard streams idempotency mirror evidence factors

local remembered = idempotency.find(KEYS[6], ARGV[11])
if remembered == 'mismatch' then return { 'mismatch' } end
if remembered then
  local first = redis.call('HMGET', KEYS[6], 'reason', 'at', 'basis', 'lifted')
  if first[1] == '' and not mirror.is_there(KEYS[3]) then return { 'mirror-behind' } end
  local revoked = mirror.revoked({ application = ARGV[1], lifted = first[4] }, first[3] or '') -- which only a right code has
  return { 'checked', revoked and 'revoked' or first[1], tonumber(first[2]) }
end

local kept = redis.call('HGET', KEYS[2], 't:' .. ARGV[2])
local application, place, recorded, period = string.match(kept or '', '^([^|]*)|(%d+)|(%d+)|(%d+)|')
local life = tonumber(ARGV[7])
local closed, wait = factors.closed(KEYS[3], KEYS[2], ARGV[1], ARGV[3], ARGV[4], tonumber(place or 0), life)
if closed == 'mirror-behind' then return { 'mirror-behind' } end
if application ~= ARGV[1] then return { 'not-found' } end
if closed == 'settling' then return { 'settling', wait } end
if closed == 'frozen' then return { 'frozen' } end
local needed = evidence.needed(KEYS[7], ARGV[1], ARGV[15])
if not needed then return { 'step-up' } end

local about = { id = ARGV[2], application = ARGV[1], purpose = ARGV[10], country = '' }

-- Every answer to a check that was understood: told to the caller, remembered, reported.
local function answer(reason, event, values, ...)
  if ARGV[11] ~= '' then idempotency.remember(KEYS[6], ARGV[11], ARGV[12], 'reason', reason, 'at', now, ...) end
  values = values or {}
  values.reason = reason
  streams.report(KEYS[5], event, about, values)
  return { 'checked', reason, now }
end

local state, trust, refusal = factors.budget(KEYS[1], ARGV[1], ARGV[9])
if refusal then return answer('factor_locked', 'factor.refused', { rule = refusal.rule }) end

local present, last = math.floor(now / (1000 * period)), math.max(recorded, redis.call('GET', KEYS[4]) or 0)
local taken, used
for i = 16, #ARGV do
  local step = tonumber(ARGV[i])
  if step >= present - ARGV[5] and step <= present + ARGV[6] then
    if step <= last then used = true else taken = taken or step end
  end
end
if taken then
  redis.call('SET', KEYS[4], taken, 'PX', life + ARGV[8])
  number.approved(state, trust, ARGV[9])
  number.write(state)
  local basis, lifted = factors.note_approval(ARGV[13] .. ARGV[2], ARGV[1], KEYS[2], ARGV[2], needed, ARGV[14])
  return answer('', 'factor.approved', { step = taken }, 'basis', basis, 'lifted', lifted)
end
if used then return answer('code_used', 'factor.code_used') end
local locks = number.guessed_wrong(state, trust)
number.write(state)
return answer('wrong_code', locks and 'factor.locked' or 'factor.failed')
