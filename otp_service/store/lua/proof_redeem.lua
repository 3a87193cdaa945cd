-- Notes that the proof of a verification is used. Its record outlives every proof; one that a lost or restored Redis does not
-- have, or does not know to be approved, proves nothing any more.
--
-- KEYS[1] the record
-- ARGV[1] application
-- Returns: 1; or 0 when it was used before, or there is no approved record
-- include clock fence record

local found = record.read(KEYS[1], ARGV[1])
if not found or found.status ~= 'approved' then return 0 end
return redis.call('HSETNX', KEYS[1], 'redeemed', now)
