-- Notes that the result of a page is used. Its record outlives every result; one that a lost or restored Redis does not have
-- tells nothing any more.
--
-- KEYS[1] the record   KEYS[2] the mirror's head
-- ARGV[1] application   ARGV[2] when the result ends, in milliseconds
-- ARGV[3] beginning of the keys of what the mirror says of numbers
-- Derives: what the mirror says of the number, from the record's pseudonym, and what else it rests on (same hash tag)
-- Returns: how the verification ended, canceled where an approval is not valid any more; false when the result was used before or has ended,
-- or there is no record that has; mirror-behind for an approval while there is no mirror, which would tell
-- include clock fence record mirror

local found = record.read(KEYS[1], ARGV[1])
if not found or now >= tonumber(ARGV[2]) then return false end
local status = found.status
if status == 'pending' then
  if now < found.expires then return false end
  status = 'expired'
end
if status == 'approved' and not mirror.is_there(KEYS[2]) then return 'mirror-behind' end
if status == 'approved' and mirror.revoked(found, mirror.basis(ARGV[3] .. found.pseudonym) .. found.basis) then status = 'canceled' end
return redis.call('HSETNX', KEYS[1], 'result', now) == 1 and status
