-- Notes a decision from outside the scripts: a start that a rule refused before Redis was used, or a lifted block.
-- include clock rule_hits
local verification = { application = arg.application, purpose = arg.purpose, country = arg.country }
local kind = arg.mode == 'enforce' and 'start' or 'change'
return rule_hits.append(key.decisions, arg.max_decisions, arg.max_age, arg.rule, arg.mode, kind, '', 0, verification, '',
  'request', arg.request)
