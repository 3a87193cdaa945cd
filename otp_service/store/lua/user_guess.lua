-- Counts a code of a user that is compared elsewhere: a recovery code, or the first code of a factor.
--
-- KEYS[1] the user   KEYS[2] what the mirror says of the user   KEYS[3] the mirror's head   KEYS[4] events
-- KEYS[5] evidence of an earlier approval, where the purpose needs one, and it is in this slot
-- ARGV[1] application   ARGV[2] the factor, or the user   ARGV[3] identity of the ledger
-- ARGV[4] position in it that the mirror must have reached   ARGV[5] the device, empty where it is not known
-- ARGV[6] what was found: right, wrong_code, code_used (which is no guess), or empty where that is still to be seen; a first code
-- that is right ends no row of wrong ones
-- ARGV[7] the event, empty for none   ARGV[8] beginning of the keys of evidence of the user
-- ARGV[9] milliseconds for which an approval is evidence, 0 where nothing proves it
-- ARGV[10] when the earlier approval is too old, in milliseconds; empty where the purpose needs none
-- Derives: the key of the evidence, from the time, and what other evidence rests on (same hash tag)
-- Returns one of: {'checked', reason, when} {'mirror-behind'} {'frozen'} {'step-up'}
-- include clock fence rows counters limits number subjects targets buckets conversions rule_hits spending failure_alarm
-- include approvals newcomers fraud findings guard streams mirror evidence factors

local closed = factors.closed(KEYS[3], KEYS[2], ARGV[1], ARGV[3], ARGV[4], 0, 0)
if closed == 'mirror-behind' then return { 'mirror-behind' } end
if closed == 'frozen' then return { 'frozen' } end
local needed = evidence.needed(KEYS[5], ARGV[1], ARGV[10])
if not needed then return { 'step-up' } end

local function answer(reason, event, rule)
  local about = { id = ARGV[2], application = ARGV[1], purpose = '', country = '' }
  if event ~= '' then streams.report(KEYS[4], event, about, { reason = reason, rule = rule }) end
  return { 'checked', reason, now }
end

local state, trust, refusal = factors.budget(KEYS[1], ARGV[1], ARGV[5])
if refusal and ARGV[6] ~= 'right' then return answer('factor_locked', 'factor.refused', refusal.rule) end
local locks = ARGV[6] == 'wrong_code' and number.guessed_wrong(state, trust)
if ARGV[6] == 'right' then
  number.approved(state, trust, ARGV[5])
  factors.note_approval(ARGV[8], ARGV[1], KEYS[2], nil, needed, ARGV[9])
end
if ARGV[6] ~= '' then number.write(state) end
return answer(ARGV[6] == 'right' and '' or ARGV[6], locks and 'factor.locked' or ARGV[7])
