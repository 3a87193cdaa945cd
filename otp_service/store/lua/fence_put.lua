-- Fences the store: whatever was started before is expired from now on, and for some time fewer messages may be sent. A
-- fence that stands already gives way to a new one.
--
-- KEYS[1] the fence
-- ARGV[1] milliseconds for which fewer messages may be sent   ARGV[2] milliseconds that the fence is kept
-- Returns: {now, the fence's name and beginning, until when fewer messages may be sent}
-- include clock

local at = math.max(now, tonumber(redis.call('HGET', KEYS[1], 'at') or 0) + 1) -- named unlike the one before it
local ends = now + tonumber(ARGV[1])
redis.call('HSET', KEYS[1], 'at', at, 'until', ends)
redis.call('PEXPIREAT', KEYS[1], now + tonumber(ARGV[2]))
return { now, at, ends }
