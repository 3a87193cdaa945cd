-- Claims an earlier approval for a start or check, once: uses it, or reserves it until the code is right. The same claim may be repeated.
-- include clock fence mirror evidence
if not mirror.is_there(key.mirror) then return reply.mirror_behind() end
local needed = evidence.needed(key.evidence, arg.application, arg.ends, nil, arg.by)
if not needed then return reply.step_up() end
if arg.reserves == '1' then evidence.reserve(needed, arg.by) else evidence.use(needed, arg.by) end
return reply.evidence_claimed { lifted = needed.lifted, basis = needed.basis }
