-- Learns from a call how its gateway is, and opens or closes the breaker. A gateway that answers in time is
-- well, whatever it says of the message.
--
-- KEYS[1] the gateway's health   KEYS[2] its calls in flight
-- ARGV[1] identifier of the dispatch   ARGV[2] 'well', 'bad' (it failed, or was slow), 'throttled', or 'none' (there
-- was no call)   ARGV[3] milliseconds for which it asked to be left alone, 0 when it did not say
-- ARGV[4] why it refuses our account, empty when it does not
-- ARGV[5] bad calls in a row that open the breaker
-- ARGV[6] calls of a window from which on their share counts   ARGV[7] per cent of bad ones that open it
-- ARGV[8] length of a window   ARGV[9] shortest and ARGV[10] longest time that it blocks
-- ARGV[11] and ARGV[12] shortest and longest pause after throttling; all in milliseconds
-- Returns one of: {'opened', milliseconds} {'closed'} {''} (nothing changed)
-- include clock

redis.call('ZREM', KEYS[2], ARGV[1])
local names = { 'until', 'open_for', 'probe', 'since', 'pause', 'paused' }
local values = redis.call('HMGET', KEYS[1], unpack(names))
local known = {}
for i, name in ipairs(names) do known[name] = values[i] or nil end
local bad = ARGV[2] == 'bad'

-- Keeps the hash for a day after it says anything.
local function keep(milliseconds)
  redis.call('PEXPIRE', KEYS[1], math.max(milliseconds + 86400000, redis.call('PTTL', KEYS[1])))
end

local function open(open_for)
  redis.call('HSET', KEYS[1], 'until', now + open_for, 'open_for', open_for)
  redis.call('HDEL', KEYS[1], 'probe', 'probing', 'opened_by', 'since', 'calls', 'bad', 'run')
  keep(open_for)
  return { 'opened', open_for }
end

if ARGV[2] == 'none' then
  if known.probe == ARGV[1] then redis.call('HDEL', KEYS[1], 'probe', 'probing') end
  return { '' }
end

if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'refusal', ARGV[4], 'refused', now)
  keep(0)
elseif ARGV[2] == 'well' then
  redis.call('HDEL', KEYS[1], 'refusal', 'refused')
end

local rested, asked = now >= tonumber(known.paused or 0), tonumber(ARGV[3])
local paused = math.max(now + asked, tonumber(known.paused or 0))
if asked > 0 then
  redis.call('HSET', KEYS[1], 'paused', paused)
  keep(paused - now)
end
if ARGV[2] == 'throttled' then
  local pause = tonumber(known.pause or 0)
  -- Of a burst that is throttled only the first doubles: the others were begun before anybody knew.
  if rested then pause = math.max(math.min(2 * pause, tonumber(ARGV[12])), tonumber(ARGV[11])) end
  if asked > 0 then pause = asked end -- it knows best
  paused = math.max(now + pause, paused)
  redis.call('HSET', KEYS[1], 'paused', paused, 'pause', math.min(pause, tonumber(ARGV[12])))
  if known.probe == ARGV[1] then redis.call('HDEL', KEYS[1], 'probe', 'probing') end
  keep(paused - now)
  return { '' }
end
if not bad and known.pause and rested then redis.call('HDEL', KEYS[1], 'pause', 'paused') end

if known['until'] then
  if known.probe ~= ARGV[1] then return { '' } end -- begun before it opened: old news
  if not bad then
    redis.call('HDEL', KEYS[1], 'until', 'open_for', 'probe', 'probing', 'probed', 'opened_by')
    return { 'closed' }
  end
  if now >= tonumber(known['until']) then return open(math.min(2 * tonumber(known.open_for), tonumber(ARGV[10]))) end
  redis.call('HDEL', KEYS[1], 'probe', 'probing') -- the last resort, before its time: that does not lengthen it
  return { '' }
end

if not known.since or now - tonumber(known.since) >= tonumber(ARGV[8]) then
  redis.call('HSET', KEYS[1], 'since', now, 'calls', 0, 'bad', 0)
  keep(0)
end
local calls = redis.call('HINCRBY', KEYS[1], 'calls', 1)
if not bad then
  redis.call('HSET', KEYS[1], 'run', 0)
  return { '' }
end
local bad_ones, run = redis.call('HINCRBY', KEYS[1], 'bad', 1), redis.call('HINCRBY', KEYS[1], 'run', 1)
local share = calls >= tonumber(ARGV[6]) and bad_ones * 100 >= calls * tonumber(ARGV[7])
return (share or run >= tonumber(ARGV[5])) and open(tonumber(ARGV[9])) or { '' }
