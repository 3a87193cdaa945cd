-- Fences the store where a replica took over, or the server was restarted: it may lack what was written last. Each new
-- connection calls it first, so nothing is approved there before. A planned fail-over is confirmed by who planned it, once
-- it is known that nothing was lost; until then, or until it takes too long, others wait.
--
-- KEYS[1] the installation   KEYS[2] and following: the places of the fence, as `fence_put` takes them
-- ARGV[1], ARGV[2] as `fence_put` takes them   ARGV[3] '1' to confirm that nothing was lost
-- Returns: {'same'}, {'planned'}: wait, or {'fenced', now, the fence's name and beginning, until when fewer messages may
-- be sent}
-- include clock fencing

local what = fencing.meet(KEYS[1], ARGV[3] == '1')
if what == 'planned' then return { 'planned' } end
if what == 'same' then return { 'same' } end
return { 'fenced', unpack(fencing.put({ unpack(KEYS, 2) }, tonumber(ARGV[1]), tonumber(ARGV[2]))) }
