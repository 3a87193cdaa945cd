-- Fences the store: whatever was started before is expired from now on. A fence that stands already gives way to a new one.
--
-- KEYS: the places of the fence: of each bucket, and where the release before has it; then the mirror's heads, where the store was
-- restored from a copy: those that are there are closed until it is known that the ledger was not
-- ARGV[1] milliseconds that the fence is kept   ARGV[2] how many places there are
-- Returns: the fence's name and beginning
-- include clock fencing

local places = tonumber(ARGV[2])
local at = fencing.put({ unpack(KEYS, 1, places) }, tonumber(ARGV[1]))
for i = places + 1, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('HSET', KEYS[i], 'restored', at) end
end
return at
