-- Shows that a worker is still busy with its jobs, or lets others have them at once. What another worker took over
-- meanwhile stays that one's.
--
-- KEYS: the queue of each job
-- ARGV[1] consumer group   ARGV[2] consumer   ARGV[3] milliseconds for which it counts as silent from now on
-- ARGV[4] and following: the entry of each job in its queue
-- Returns: number of jobs that are still the worker's
-- include clock streams

local kept = 0
for i, queue in ipairs(KEYS) do
  local entry = ARGV[3 + i]
  if streams.is_held(queue, ARGV[1], entry, ARGV[2]) then
    redis.call('XCLAIM', queue, ARGV[1], ARGV[2], 0, entry, 'IDLE', ARGV[3], 'JUSTID')
    kept = kept + 1
  end
end
return kept
