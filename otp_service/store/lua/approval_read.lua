-- Reads a verification that was approved, and whether that is still valid.
--
-- KEYS[1] the record   KEYS[2] the mirror's head
-- ARGV[1] beginning of the keys of what the mirror says of numbers
-- Derives: what the mirror says of the number, from the record's pseudonym, and what else it rests on (same hash tag)
-- Returns: {now, record, 1 where the approval is not valid any more, else 0}; false while there is no mirror, which would tell
-- include clock fence record mirror

local found = record.read(KEYS[1])
if not found then return { now, {}, 0 } end
if not mirror.is_there(KEYS[2]) then return false end
local revoked = mirror.revoked(found, mirror.basis(ARGV[1] .. found.pseudonym) .. found.basis)
return { now, record.read_all(KEYS[1]), revoked and 1 or 0 }
