-- Learns a gateway's health from a call, and opens or closes the breaker. An answer in time is well, whatever it says of the message.
-- include clock
if arg.result ~= 'late' then redis.call('ZREM', key.in_flight, arg.dispatch) end
local known = by_name(redis.call('HGETALL', key.health))
local bad = arg.result == 'bad' or arg.result == 'late'

local function keep(milliseconds)
  redis.call('PEXPIRE', key.health, math.max(milliseconds + 86400000, redis.call('PTTL', key.health)))
end

local function open(open_for)
  redis.call('HSET', key.health, 'until', now + open_for, 'open_for', open_for, 'opened', now)
  redis.call('HDEL', key.health, 'probe', 'probing', 'opened_by', 'since', 'calls', 'bad', 'run')
  keep(open_for)
  return reply.opened()
end

if arg.result == 'none' then
  if known.probe == arg.dispatch then redis.call('HDEL', key.health, 'probe', 'probing') end
  return reply.unchanged()
end

if arg.refusal ~= '' then
  redis.call('HSET', key.health, 'refusal', arg.refusal, 'refused', now)
  keep(0)
elseif arg.result == 'well' then
  redis.call('HDEL', key.health, 'refusal', 'refused')
end

local rested, requested = now >= tonumber(known.paused or 0), tonumber(arg.throttled_for)
local paused = math.max(now + requested, tonumber(known.paused or 0))
if requested > 0 then
  redis.call('HSET', key.health, 'paused', paused)
  keep(paused - now)
end
if arg.result == 'throttled' then
  local pause = tonumber(known.pause or 0)
  -- Only the first of a throttled burst doubles it: the others began before that was known.
  if rested then pause = math.max(math.min(2 * pause, tonumber(arg.max_pause)), tonumber(arg.min_pause)) end
  if requested > 0 then pause = requested end -- it knows best
  paused = math.max(now + pause, paused)
  redis.call('HSET', key.health, 'paused', paused, 'pause', math.min(pause, tonumber(arg.max_pause)))
  if known.probe == arg.dispatch then redis.call('HDEL', key.health, 'probe', 'probing') end
  keep(paused - now)
  if known['until'] then return reply.unchanged() end
elseif not bad and known.pause and rested then
  redis.call('HDEL', key.health, 'pause', 'paused')
end

if known['until'] then
  if known.probe ~= arg.dispatch then return reply.unchanged() end -- begun before it opened: old news
  if not bad then
    redis.call('HDEL', key.health, 'until', 'open_for', 'probe', 'probing', 'probed', 'opened_by')
    return reply.closed()
  end
  if now >= tonumber(known['until']) then return open(math.min(2 * tonumber(known.open_for), tonumber(arg.max_open))) end
  redis.call('HDEL', key.health, 'probe', 'probing') -- the last resort, before its time: that does not lengthen it
  return reply.unchanged()
end

local since, calls, bad_calls, run = tonumber(known.since), tonumber(known.calls), tonumber(known.bad), tonumber(known.run or 0)
if not since or now - since >= tonumber(arg.window) then since, calls, bad_calls = now, 0, 0 end
for i = arg.rest, #ARGV, 3 do
  local times = tonumber(ARGV[i + 1])
  if now - ARGV[i + 2] >= tonumber(known.opened or 0) then -- otherwise it began before the breaker opened last: old news
    calls = calls + times
    if ARGV[i] == 'bad' then bad_calls, run = bad_calls + times, run + times else run = 0 end
    local share = calls >= tonumber(arg.min_calls) and bad_calls * 100 >= calls * tonumber(arg.percent)
    if ARGV[i] == 'bad' and (share or run >= tonumber(arg.max_run)) then return open(tonumber(arg.min_open)) end
  end
end
if calls > 0 then
  redis.call('HSET', key.health, 'since', since, 'calls', calls, 'bad', bad_calls, 'run', run)
  keep(0)
end
return reply.unchanged()
