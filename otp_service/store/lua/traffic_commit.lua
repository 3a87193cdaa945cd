-- Keeps what was learnt of an application's traffic.
--
-- KEYS[1] what is learnt   KEYS[2] the tallies
-- ARGV[1] version of what is learnt that was read: when another process has changed it meanwhile, nothing is done
-- ARGV[2] life of what is learnt in milliseconds   ARGV[3] the tallies that were counted, as JSON
-- ARGV[4] and following: names in what is learnt, and values
-- Returns: 1 when it was kept, else 0

if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then return 0 end
redis.call('HINCRBY', KEYS[1], 'version', 1)
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end -- there may be more than unpack can take
redis.call('PEXPIRE', KEYS[1], ARGV[2])

for field, count in pairs(cjson.decode(ARGV[3])) do
  if redis.call('HINCRBY', KEYS[2], field, -count) == 0 then redis.call('HDEL', KEYS[2], field) end
end
return 1
