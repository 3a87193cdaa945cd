-- Notes a start in another bucket that names a user, unless the user is frozen: a freeze ends what is noted.
-- include clock fence record mirror
if not mirror.is_there(key.mirror) then return reply.mirror_behind() end
local why, lifted = mirror.revoked({ application = arg.application, lifted = math.huge }, mirror.basis(key.mirrored))
if why then return reply.user_frozen() end
record.note_of_user(key.verifications, arg.verification, arg.life)
return reply.user_claimed { lifted = lifted }
