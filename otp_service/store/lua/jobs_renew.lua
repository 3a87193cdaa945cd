-- Renews a worker's jobs, or lets others have them at once. A job that another worker claimed stays there.
-- include clock streams
local renewed = 0
for i = key.rest, #KEYS do
  local queue, entry = KEYS[i], ARGV[arg.rest + i - key.rest]
  if streams.is_held(queue, arg.group, entry, arg.consumer) then
    redis.call('XCLAIM', queue, arg.group, arg.consumer, 0, entry, 'IDLE', arg.silent, 'JUSTID')
    renewed = renewed + 1
  end
end
return renewed
