-- Stores what was learnt of an application's traffic, unless another process changed it since it was read.
if (redis.call('HGET', key.traffic, 'version') or '0') ~= arg.version then return 0 end
redis.call('HINCRBY', key.traffic, 'version', 1)
for i = arg.rest, #ARGV, 2 do redis.call('HSET', key.traffic, ARGV[i], ARGV[i + 1]) end -- there may be more than unpack can take
redis.call('PEXPIRE', key.traffic, arg.life)

for field, count in pairs(cjson.decode(arg.tallies)) do
  if redis.call('HINCRBY', key.tallies, field, -count) == 0 then redis.call('HDEL', key.tallies, field) end
end
return 1
