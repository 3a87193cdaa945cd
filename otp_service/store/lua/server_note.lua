-- Notes that the server was restarted, or that another took over: the last writes may be lost.
-- include clock mirror
for i = key.rest, #KEYS do
  mirror.server_since(KEYS[i])
  if arg.is_current == '1' and redis.call('HGET', KEYS[i], 'compared') ~= mirror.server_name() then
    redis.call('HSET', KEYS[i], 'compared', mirror.server_name())
  end
end
