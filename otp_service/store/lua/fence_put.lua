-- Fences the store: all that was started before is expired from now on. An earlier fence gives way to it.
-- include clock fencing
local heads_at = key.rest + arg.fences
local at = fencing.put({ unpack(KEYS, key.rest, heads_at - 1) }, tonumber(arg.life))
for i = heads_at, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('HSET', KEYS[i], 'restored', at) end
end
return at
