-- Puts due retries back into the outbox. A job's queue has its application, country and channel (same hash tag).
-- include clock streams
local due = redis.call('ZRANGE', key.delayed, '-inf', now, 'BYSCORE', 'LIMIT', 0, arg.max_jobs)
for _, job in ipairs(due) do
  local readable, fields = pcall(cjson.decode, job)
  if not readable or type(fields) ~= 'table' then fields = { 'unreadable', job } end
  local known = streams.fields(fields)
  local queue = arg.queue .. table.concat({ known.application or '', known.country or '', known.channel or '' }, ':')
  streams.put_back(queue, key.queues, key.ready, key.wake, known)
  redis.call('ZREM', key.delayed, job)
end
local next_due = redis.call('ZRANGE', key.delayed, 0, 0, 'WITHSCORES')[2]
return next_due and math.max(0, tonumber(next_due) - now) or -1
