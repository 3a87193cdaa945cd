-- Reads an approved verification, and whether it is still valid. Revocations come from the record's number and basis (same hash tag).
-- include clock fence record mirror
local verification = record.read(key.record)
if not verification then return reply.approval_read { now = now, record = {}, revoked = 0, elsewhere = '', lifted = 0 } end
if not mirror.is_there(key.mirror) then return reply.mirror_behind() end
local revoked = mirror.revoked(verification, mirror.basis(arg.mirrored .. verification.pseudonym) .. verification.basis)
return reply.approval_read { now = now, record = record.read_all(key.record), revoked = revoked and 1 or 0,
  elsewhere = mirror.elsewhere(verification.basis), lifted = verification.lifted }
