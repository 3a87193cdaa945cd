-- Finds the dispatch of a receipt by the gateway's reference; stores a receipt that comes too early.
for i = key.rest, #KEYS, 2 do
  local dispatch = redis.call('GET', KEYS[i])
  if dispatch then return reply.reference_found { dispatch = dispatch } end
end
for i = key.rest + 1, #KEYS, 2 do
  redis.call('RPUSH', KEYS[i], arg.receipt)
  redis.call('LTRIM', KEYS[i], 0, arg.max_early - 1)
  redis.call('PEXPIRE', KEYS[i], arg.life)
end
return reply.not_found()
