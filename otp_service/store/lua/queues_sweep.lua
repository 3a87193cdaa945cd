-- Forgets the queues that are empty, for what comes next makes them again; and of the others the consumers that hold
-- nothing and have not been heard of for long, and the jobs that are too old. In one step: one that takes a job meanwhile would
-- lose it.
--
-- KEYS[1] names of the queues   KEYS[2] names of those that may have new jobs
-- ARGV[1] consumer group       ARGV[2] milliseconds of silence   ARGV[3] age of a job that goes, in milliseconds
-- Derives: the queues, from their names (same hash tags)
-- Returns: number of queues that were forgotten
-- include clock streams

local forgotten = 0
for _, queue in ipairs(redis.call('HKEYS', KEYS[1])) do
  redis.pcall('XTRIM', queue, 'MINID', '~', now - ARGV[3])
  if redis.pcall('XLEN', queue) == 0 then
    redis.call('DEL', queue)
    redis.call('HDEL', KEYS[1], queue)
    redis.call('SREM', KEYS[2], queue)
    forgotten = forgotten + 1
  else
    for _, answer in ipairs(redis.pcall('XINFO', 'CONSUMERS', queue, ARGV[1])) do -- a queue without a group has none
      local one = streams.fields(answer)
      if one.pending == 0 and one.idle > tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', queue, ARGV[1], one.name)
      end
    end
  end
end
return forgotten
