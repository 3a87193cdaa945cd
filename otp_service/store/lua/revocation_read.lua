-- Tells a script of another bucket whether a basis in this one is still valid: 'valid', why not, or 'mirror-behind'.
-- include clock mirror
if not mirror.is_there(key.mirror) then return 'mirror-behind' end
return mirror.revoked({ application = arg.application, lifted = arg.lifted }, arg.basis) or 'valid'
