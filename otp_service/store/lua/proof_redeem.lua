-- Notes that the proof of an approval is used. What a lost or restored Redis has no evidence of proves nothing any more.
--
-- KEYS[1] evidence of the approval   KEYS[2] the mirror's head
-- ARGV[1] application
-- Derives: what it rests on (same hash tag)
-- Returns: 1; 0 when it was used before, or there is no evidence; -1 when that is not valid any more; -2 while there is no mirror, which
-- would tell
-- include clock fence mirror evidence

local found, revoked = evidence.read(KEYS[1], ARGV[1])
if not found then return 0 end
if not mirror.is_there(KEYS[2]) then return -2 end
if revoked then return -1 end
return redis.call('HSETNX', KEYS[1], 'redeemed', now)
