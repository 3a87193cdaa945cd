-- Opens the mirror in a store that was restored with a fence, if no other fence closed it since.
for i = key.rest, #KEYS do
  if redis.call('HGET', KEYS[i], 'restored') == arg.fence then redis.call('HDEL', KEYS[i], 'restored') end
end
