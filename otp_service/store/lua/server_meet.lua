-- Fences the store where a replica took over, or the server was restarted: it may lack what was written last. Each new
-- connection calls it first, so nothing is approved there before. A planned fail-over is confirmed by who planned it, once
-- it is known that nothing was lost; until then, or until it takes too long, others wait.
--
-- KEYS[1] the installation   KEYS[2] and following: the places of the fence, as `fence_put` takes them
-- ARGV[1] as `fence_put` takes it   ARGV[2] '1' to confirm that nothing was lost
-- Returns: 'same', 'planned': wait, or 'fenced'
-- include clock fencing

local what = fencing.meet(KEYS[1], ARGV[2] == '1')
if what ~= 'lost' then return what end
fencing.put({ unpack(KEYS, 2) }, tonumber(ARGV[1]))
return 'fenced'
