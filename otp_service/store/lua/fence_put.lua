-- Fences the store: whatever was started before is expired from now on. A fence that stands already gives way to a new one.
--
-- KEYS: the fence of each bucket; then the mirror's heads, where the store was restored from a copy: those that exist are closed
-- until it is known that the ledger was not
-- ARGV[1] milliseconds that the fence is kept   ARGV[2] number of fences
-- Returns: the fence's name and beginning
-- include clock fencing

local fences = tonumber(ARGV[2])
local at = fencing.put({ unpack(KEYS, 1, fences) }, tonumber(ARGV[1]))
for i = fences + 1, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('HSET', KEYS[i], 'restored', at) end
end
return at
