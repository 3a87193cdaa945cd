-- Lowers last steps that are ahead of the clock to the present one: the clock ran ahead, and was set back. And the time since which
-- checks of factors wait, where it is still to come.
--
-- KEYS[1] the mirror's head   The others: last steps that were taken
-- ARGV[1] milliseconds for which to know them   The others, for each step: its period in seconds, and how many steps a code may come early
-- Returns: how much was lowered
-- include clock

local count = 0
if tonumber(redis.call('HGET', KEYS[1], 'since') or 0) > now then
  redis.call('HSET', KEYS[1], 'since', now)
  count = 1
end
for i = 2, #KEYS do
  local present = math.floor(now / (1000 * ARGV[2 * i - 2]))
  if tonumber(redis.call('GET', KEYS[i]) or 0) > present + ARGV[2 * i - 1] then
    redis.call('SET', KEYS[i], present, 'PX', ARGV[1])
    count = count + 1
  end
end
return count
