-- Notes that a rule refused a start before Redis was asked: its destination is none.
--
-- KEYS[1] decisions
-- ARGV[1] greatest length of the decisions   ARGV[2] their greatest age in milliseconds
-- ARGV[3] the rule   ARGV[4] application     ARGV[5] purpose   ARGV[6] country
-- Returns: the identifier of the decision
-- include clock findings

local about = { application = ARGV[4], purpose = ARGV[5], country = ARGV[6] }
return findings.report_plain(KEYS[1], ARGV[1], ARGV[2], ARGV[3], about)
