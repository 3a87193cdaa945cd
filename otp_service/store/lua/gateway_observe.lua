-- Learns from a call how its gateway is, and opens or closes the breaker. A gateway that answers in time is
-- well, whatever it says of the message.
--
-- KEYS[1] the gateway's health   KEYS[2] its calls in flight
-- ARGV[1] identifier of the dispatch   ARGV[2] 'well', 'bad' (it failed, or was slow), 'late' (it is slow, and goes
-- on), 'throttled', or 'none' (there was no call)   ARGV[3] milliseconds for which it asked to be left alone, 0 when it did not say
-- ARGV[4] why it refuses our account, empty when it does not
-- ARGV[5] bad calls in a row that open the breaker
-- ARGV[6] calls of a window from which on their share counts   ARGV[7] per cent of bad ones that open it
-- ARGV[8] length of a window   ARGV[9] shortest and ARGV[10] longest time that it blocks
-- ARGV[11] and ARGV[12] shortest and longest pause after throttling; all in milliseconds
-- ARGV[13] and following: calls that a closed breaker counts, in the order in which they began: 'well' or 'bad', how many in a row,
-- milliseconds since the first of them began
-- Returns one of: {'opened', milliseconds} {'closed'} {''} (nothing changed)
-- include clock

if ARGV[2] ~= 'late' then redis.call('ZREM', KEYS[2], ARGV[1]) end
local names = { 'until', 'open_for', 'probe', 'since', 'calls', 'bad', 'run', 'opened', 'pause', 'paused' }
local values = redis.call('HMGET', KEYS[1], unpack(names))
local known = {}
for i, name in ipairs(names) do known[name] = values[i] or nil end
local bad = ARGV[2] == 'bad' or ARGV[2] == 'late'

-- Keeps the hash for a day after it says anything.
local function keep(milliseconds)
  redis.call('PEXPIRE', KEYS[1], math.max(milliseconds + 86400000, redis.call('PTTL', KEYS[1])))
end

local function open(open_for)
  redis.call('HSET', KEYS[1], 'until', now + open_for, 'open_for', open_for, 'opened', now)
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
  if known['until'] then return { '' } end
elseif not bad and known.pause and rested then
  redis.call('HDEL', KEYS[1], 'pause', 'paused')
end

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

local since, calls, bad_calls, run = tonumber(known.since), tonumber(known.calls), tonumber(known.bad), tonumber(known.run or 0)
if not since or now - since >= tonumber(ARGV[8]) then since, calls, bad_calls = now, 0, 0 end
for i = 13, #ARGV, 3 do
  local times = tonumber(ARGV[i + 1])
  if now - ARGV[i + 2] >= tonumber(known.opened or 0) then -- otherwise it began before the breaker opened last: old news
    calls = calls + times
    if ARGV[i] == 'bad' then bad_calls, run = bad_calls + times, run + times else run = 0 end
    local share = calls >= tonumber(ARGV[6]) and bad_calls * 100 >= calls * tonumber(ARGV[7])
    if ARGV[i] == 'bad' and (share or run >= tonumber(ARGV[5])) then return open(tonumber(ARGV[9])) end
  end
end
if calls > 0 then
  redis.call('HSET', KEYS[1], 'since', since, 'calls', calls, 'bad', bad_calls, 'run', run)
  keep(0)
end
return { '' }
