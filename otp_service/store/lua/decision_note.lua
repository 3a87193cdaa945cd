-- Notes a decision that no other script makes: that a rule refused a start before Redis was asked, for its destination is
-- none; or that somebody lifted what a rule held back; or that an alarm was raised in another slot.
--
-- KEYS[1] decisions
-- ARGV[1] greatest length of the decisions   ARGV[2] their greatest age in milliseconds
-- ARGV[3] the rule   ARGV[4] application     ARGV[5] purpose   ARGV[6] country   ARGV[7] enforce, lifted or alarm
-- ARGV[8] until when it stands, 0 for nothing   ARGV[9] what it found, may be empty
-- ARGV[10] identifier of the request, may be empty
-- Returns: the identifier of the decision
-- include clock rule_hits

local about = { application = ARGV[4], purpose = ARGV[5], country = ARGV[6] }
local kind = ARGV[7] == 'enforce' and 'start' or 'change'
return rule_hits.append(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[7], kind, '', ARGV[8], about, ARGV[9], 'request', ARGV[10])
