-- Remembers under which reference a gateway took a message over, for receipts that name nothing else.
--
-- KEYS[1] the reference   KEYS[2] receipts that came before it was known
-- ARGV[1] identifier of the dispatch   ARGV[2] milliseconds to remember it
-- Returns: the receipts that came before, each as it was handed in

redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local early = redis.call('LRANGE', KEYS[2], 0, -1)
redis.call('DEL', KEYS[2])
return early
