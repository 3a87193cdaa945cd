-- Puts retries that are due back into the outbox.
--
-- KEYS[1] delayed   KEYS[2] names of the lanes
-- ARGV[1] greatest number to move at once   ARGV[2] greatest age of the outbox in milliseconds
-- ARGV[3] beginning of the lanes of retries; the application ends them
-- Derives: the lane of each job's application (same hash tag)
-- Returns: {number moved, milliseconds until the next is due or -1}
-- include clock streams

local due = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, job in ipairs(due) do
  local readable, fields = pcall(cjson.decode, job)
  if not readable or type(fields) ~= 'table' then fields = { 'unreadable', job } end
  streams.put(ARGV[3] .. (streams.fields(fields).application or ''), KEYS[2], ARGV[2], unpack(fields))
  redis.call('ZREM', KEYS[1], job)
end
local next_due = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
return { #due, next_due and math.max(0, tonumber(next_due) - now) or -1 }
