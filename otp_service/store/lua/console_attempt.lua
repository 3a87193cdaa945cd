-- Takes a try to sign in to the console, or tells how long it has to wait. Each counts as failed until it is forgotten,
-- so that tries at the same time wait for each other.
--
-- KEYS[1] tries for a name from a network
-- ARGV[1] tries that need not wait   ARGV[2] first wait, which doubles   ARGV[3] longest wait   ARGV[4] life of the key
-- All in milliseconds.
-- Returns: milliseconds to wait; 0 when it may be tried now
-- include clock

local state = redis.call('HMGET', KEYS[1], 'tries', 'until')
local tries, over = tonumber(state[1] or 0), tonumber(state[2] or 0)
if now < over then return over - now end
tries = tries + 1
local excess = tries - tonumber(ARGV[1])
local wait = excess < 0 and 0 or math.min(tonumber(ARGV[3]), tonumber(ARGV[2]) * 2 ^ math.min(excess, 20))
redis.call('HSET', KEYS[1], 'tries', tries, 'until', string.format('%.0f', now + wait))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 0
