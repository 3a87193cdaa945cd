-- Takes over jobs that other workers hold for too long: they died.
--
-- KEYS: the names of all queues, of each bucket; then those of the queues that may have new jobs, of as many
-- ARGV[1] consumer group   ARGV[2] consumer   ARGV[3] greatest number of jobs
-- ARGV[4] milliseconds without a renewal (`Settings.claim_after`)
-- Derives: the queues, from their names (same hash tags)
-- Returns: {{queue, entry, fields}, …}

local jobs = {}
for i = 1, #KEYS / 2 do
  for _, queue in ipairs(redis.call('HKEYS', KEYS[i])) do
    local left = tonumber(ARGV[3]) - #jobs
    if left <= 0 then return jobs end
    local silent = redis.pcall('XPENDING', queue, ARGV[1], 'IDLE', ARGV[4], '-', '+', left)
    if silent.err then redis.call('SADD', KEYS[#KEYS / 2 + i], queue) end -- its group is lost: all of it is new again
    for _, pending in ipairs(silent) do
      local entry = redis.call('XCLAIM', queue, ARGV[1], ARGV[2], ARGV[4], pending[1])[1]
      if entry and entry[2] then jobs[#jobs + 1] = { queue, entry[1], entry[2] } end -- not trimmed meanwhile
    end
  end
end
return jobs
