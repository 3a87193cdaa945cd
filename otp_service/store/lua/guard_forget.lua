-- Forgets what holds messages back of a block, a country or an address. What was approved there stays: it makes room.
--
-- KEYS[1] a key of the guard
-- Returns: 1 when there was anything, else 0

local text = redis.call('GET', KEYS[1])
if not text then return 0 end
local kept, left = cmsgpack.unpack(text), {}
for name, value in pairs(kept) do
  if string.match(name, '^a%d+$') then left[name] = value end
end
if next(left) == nil then return redis.call('DEL', KEYS[1]) end
left.at = kept.at
redis.call('SET', KEYS[1], cmsgpack.pack(left), 'KEEPTTL')
return 1
