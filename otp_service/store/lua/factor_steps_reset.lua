-- Lowers last steps that are ahead of the clock, after it ran ahead and was set back; also the time since which checks wait.
-- include clock
local count = 0
if tonumber(redis.call('HGET', key.mirror, 'since') or 0) > now then
  redis.call('HSET', key.mirror, 'since', now)
  count = 1
end
for i = key.rest, #KEYS do
  local step, of_step = KEYS[i], arg.rest + 2 * (i - key.rest)
  local period, early = ARGV[of_step], ARGV[of_step + 1]
  local present = math.floor(now / (1000 * period))
  if tonumber(redis.call('GET', step) or 0) > present + early then
    redis.call('SET', step, present, 'PX', arg.life)
    count = count + 1
  end
end
return count
