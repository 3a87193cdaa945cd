-- Claims jobs that dead workers hold for too long. The queues come from their names (same hash tags).
local jobs = {}
for i = key.rest, #KEYS / 2 do
  for _, queue in ipairs(redis.call('HKEYS', KEYS[i])) do
    local left = tonumber(arg.max_jobs) - #jobs
    if left <= 0 then return reply.jobs_taken { jobs = jobs } end
    local pending = redis.pcall('XPENDING', queue, arg.group, 'IDLE', arg.silent, '-', '+', left)
    if pending.err then redis.call('SADD', KEYS[#KEYS / 2 + i], queue) end -- its group is lost: all of it is new again
    for _, job in ipairs(pending) do
      local entry = redis.call('XCLAIM', queue, arg.group, arg.consumer, arg.silent, job[1])[1]
      if entry and entry[2] then jobs[#jobs + 1] = { queue, entry[1], entry[2] } end -- not trimmed meanwhile
    end
  end
end
return reply.jobs_taken { jobs = jobs }
