-- Counts a code of a user that is compared elsewhere: a recovery code, or the first code of a factor. Repeated with its idempotency key
-- it is answered as before.
--
-- KEYS[1] the user   KEYS[2] what the mirror says of the user   KEYS[3] the mirror's head   KEYS[4] events
-- KEYS[5] idempotency key; the user again when there is none   KEYS[6] the enrolment, for a first code; the user again for others
-- KEYS[7] evidence of an earlier approval, where the purpose needs one, and it is in this slot
-- ARGV[1] application   ARGV[2] the factor, or the user   ARGV[3] identity of the ledger
-- ARGV[4] position in it that the mirror must have reached   ARGV[5] the device, empty where it is not known
-- ARGV[6] what was found: right, wrong_code, code_used (which is no guess); first, a first code that is right, which ends no row of
-- wrong ones; repeated, where only an answer that was given before counts; or empty where it is still to be seen
-- ARGV[7] the event, empty for none   ARGV[8] beginning of the keys of evidence of the user
-- ARGV[9] milliseconds for which an approval is evidence, 0 where nothing proves it
-- ARGV[10] when the earlier approval is too old, in milliseconds; empty where the purpose needs none
-- ARGV[11] idempotency fingerprint, empty without one   ARGV[12] milliseconds to remember it
-- ARGV[13] what new recovery codes are derived from   ARGV[14] the step of a first code, else 0
-- Derives: the key of the evidence, from the time, and what other evidence rests on (same hash tag)
-- Returns one of: {'checked', reason, when, what new recovery codes are derived from} {'mismatch'} {'not-found'} {'mirror-behind'}
--                 {'frozen'} {'step-up'}
-- include clock fence rows counters limits number subjects targets buckets conversions rule_hits spending failure_alarm
-- include approvals newcomers fraud findings guard streams idempotency mirror evidence factors

local remembered = idempotency.find(KEYS[5], ARGV[11])
if remembered == 'mismatch' then return { 'mismatch' } end
local first = by_name(remembered or {})
local seed = first.seed or ARGV[13]
if first.basis and first.basis ~= '' and not mirror.is_there(KEYS[3]) then return { 'mirror-behind' } end
local revoked = mirror.revoked({ application = ARGV[1], lifted = first.lifted }, first.basis or '') -- which no wrong code has
if revoked or first.reason then return { 'checked', revoked and 'revoked' or first.reason, tonumber(first.at), seed } end
if ARGV[6] == 'repeated' then return { 'not-found' } end

local closed = factors.closed(KEYS[3], KEYS[2], ARGV[1], ARGV[3], ARGV[4], 0, 0)
if closed == 'mirror-behind' then return { 'mirror-behind' } end
if closed == 'frozen' then return { 'frozen' } end
local needed = evidence.needed(KEYS[7], ARGV[1], ARGV[10], seed)
if not needed then return { 'step-up' } end

local function remember(basis, lifted, ...)
  if ARGV[11] == '' then return end
  idempotency.remember(KEYS[5], ARGV[11], ARGV[12], 'at', now, 'basis', basis, 'lifted', lifted, 'seed', seed, ...)
end

local function answer(reason, event, rule, basis, lifted)
  local about = { id = ARGV[2], application = ARGV[1], purpose = '', country = '' }
  if event ~= '' then streams.report(KEYS[4], event, about, { reason = reason, rule = rule }) end
  remember(basis or '', lifted or 0, 'reason', reason)
  if reason ~= '' then evidence.release(needed) end
  return { 'checked', reason, now, seed }
end

local state, trust, refusal = factors.budget(KEYS[1], ARGV[1], ARGV[5])
if refusal and ARGV[6] ~= 'right' then return answer('factor_locked', 'factor.refused', refusal.rule) end
if ARGV[6] == '' then -- the ledger is asked next, which spends a right code: so nothing else may use the evidence meanwhile
  evidence.reserve(needed, seed)
  remember(factors.basis(ARGV[1], KEYS[2], nil, needed))
  return { 'checked', '', now, seed }
end
if ARGV[6] == 'first' then
  local enrolled = redis.call('HGET', KEYS[6], 'lifted')
  if not enrolled or mirror.revoked({ application = ARGV[1], lifted = enrolled }, mirror.basis(KEYS[2])) then
    return { 'not-found' } -- also where it was enrolled before a freeze that was lifted since, or before an erasure
  end
  if tonumber(ARGV[14]) <= tonumber(redis.call('HGET', KEYS[6], 'step') or 0) then
    return answer('code_used', 'factor.code_used')
  end
  redis.call('HSET', KEYS[6], 'step', ARGV[14])
  return answer('', ARGV[7], nil, factors.basis(ARGV[1], KEYS[2], nil, needed))
end
if ARGV[6] == 'right' then
  number.approved(state, trust, ARGV[5])
  number.write(state)
  return answer('', ARGV[7], nil, factors.note_approval(ARGV[8], ARGV[1], KEYS[2], nil, needed, ARGV[9]))
end
local locks = ARGV[6] == 'wrong_code' and number.guessed_wrong(state, trust)
number.write(state)
return answer(ARGV[6], locks and 'factor.locked' or ARGV[7])
