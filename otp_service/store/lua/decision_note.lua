-- Notes a decision that no other script makes: a start that a rule refused before Redis was used, for its destination is
-- invalid; a block that an operator lifted; an alarm that was raised in another slot.
-- include clock rule_hits

local verification = { application = arg.application, purpose = arg.purpose, country = arg.country }
local kind = arg.mode == 'enforce' and 'start' or 'change'
return rule_hits.append(key.decisions, arg.max_decisions, arg.max_age, arg.rule, arg.mode, kind, '', arg.ends, verification, arg.details, 'request', arg.request)
