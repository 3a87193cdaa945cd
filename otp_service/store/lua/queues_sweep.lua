-- Deletes empty queues, which the next job makes again, old jobs and silent consumers without a job, in one step: a consumer that takes a
-- job meanwhile would lose it. The queues come from their names (same hash tags).
-- include clock streams
local forgotten = 0
for _, queue in ipairs(redis.call('HKEYS', key.queues)) do
  redis.pcall('XTRIM', queue, 'MINID', '~', now - arg.max_age)
  if redis.pcall('XLEN', queue) == 0 then
    redis.call('DEL', queue)
    redis.call('HDEL', key.queues, queue)
    redis.call('SREM', key.ready, queue)
    forgotten = forgotten + 1
  else
    for _, answer in ipairs(redis.pcall('XINFO', 'CONSUMERS', queue, arg.group)) do -- a queue without a group has none
      local consumer = streams.fields(answer)
      if consumer.pending == 0 and consumer.idle > tonumber(arg.max_silence) then
        redis.call('XGROUP', 'DELCONSUMER', queue, arg.group, consumer.name)
      end
    end
  end
end
return forgotten
