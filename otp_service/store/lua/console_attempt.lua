-- Counts a sign-in to the console, or returns the wait. It counts as failed until it expires, so that attempts wait for each other.
-- include clock
local state = redis.call('HMGET', key.attempts, 'attempts', 'until')
local attempts, ends = tonumber(state[1] or 0), tonumber(state[2] or 0)
if now < ends then return ends - now end
attempts = attempts + 1
local excess = attempts - tonumber(arg.free_attempts)
local wait = excess < 0 and 0 or math.min(tonumber(arg.max_wait), tonumber(arg.first_wait) * 2 ^ math.min(excess, 20))
redis.call('HSET', key.attempts, 'attempts', attempts, 'until', string.format('%.0f', now + wait))
redis.call('PEXPIRE', key.attempts, arg.life)
return 0
