-- Puts retries that are due back into the outbox.
--
-- KEYS[1] delayed   KEYS[2] names of the queues   KEYS[3] names of those that may have new jobs   KEYS[4] wake-up list
-- ARGV[1] greatest number to move at once   ARGV[2] beginning of the queues of retries; application, country and channel end them
-- Derives: the queue of each job (same hash tag)
-- Returns: {number moved, milliseconds until the next is due or -1}
-- include clock streams

local due = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, job in ipairs(due) do
  local readable, fields = pcall(cjson.decode, job)
  if not readable or type(fields) ~= 'table' then fields = { 'unreadable', job } end
  local known = streams.fields(fields)
  local queue = ARGV[2] .. table.concat({ known.application or '', known.country or '', known.channel or '' }, ':')
  streams.put_back(queue, KEYS[2], KEYS[3], KEYS[4], known)
  redis.call('ZREM', KEYS[1], job)
end
local next_due = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
return { #due, next_due and math.max(0, tonumber(next_due) - now) or -1 }
