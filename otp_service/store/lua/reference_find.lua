-- Finds the dispatch that a receipt is about by the gateway's reference; keeps a receipt that comes too early.
--
-- KEYS: two for each spelling of the reference, the likeliest first: the reference, and its early receipts
-- ARGV[1] the receipt   ARGV[2] milliseconds to keep an early one   ARGV[3] greatest number of early ones
-- Returns: {identifier of the dispatch}, or {} when it is not known

for i = 1, #KEYS, 2 do
  local dispatch = redis.call('GET', KEYS[i])
  if dispatch then return { dispatch } end
end
for i = 2, #KEYS, 2 do
  redis.call('RPUSH', KEYS[i], ARGV[1])
  redis.call('LTRIM', KEYS[i], 0, ARGV[3] - 1)
  redis.call('PEXPIRE', KEYS[i], ARGV[2])
end
return {}
