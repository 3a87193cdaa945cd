-- Claims an earlier approval for a start in another bucket, once.
-- include clock fence mirror evidence

local needed = evidence.needed(key.evidence, arg.application, arg.ends)
if not needed then return nil end
evidence.use(needed, arg.verification)
return needed.lifted
