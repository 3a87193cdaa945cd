-- The evaluator of limits: data in, decision out. Every window is tested before any is spent.
-- The algorithms and the stored form are those of the limits library's Redis storage, so that it can read
-- and clear what is counted here.
--
-- A window of the ruleset has a scope, a strategy, an amount and seconds, and may have: `for_unknown`, how many of the
-- amount are for those who are not known. Its keys: one for a moving window (the times of the last events,
-- newest first), two for a sliding window counter (this interval's count, the previous one's).
local limits = {}

-- Returns the windows of the ruleset that are in one of the scopes (commas between), with their keys, which a list has from
-- a place on, in the same order. What is found is noted in the ruleset, and belongs to the call at hand.
function limits.windows(keys, place, scopes)
  local found, wanted = {}, {}
  for scope in string.gmatch(scopes, '[^,]+') do wanted[scope] = true end
  for _, limit in ipairs(ruleset.windows) do
    if wanted[limit.scope] then
      limit.key, place = keys[place], place + 1
      if limit.strategy == 'sliding-window-counter' then
        limit.previous, place = keys[place], place + 1
      end
      found[#found + 1] = limit
    end
  end
  return found
end

-- Milliseconds until one more event fits into a moving window, 0 when it does now.
local function moving_wait(limit, most)
  local entry = redis.call('LINDEX', limit.key, most - 1)
  if not entry then return 0 end
  local free = tonumber(entry) + limit.seconds - tonumber(stamp)
  if free < 0 then return 0 end
  return math.max(1, math.ceil(free * 1000))
end

-- The same for a sliding window counter. Leaves in the limit what spending it needs.
local function sliding_wait(limit, most)
  local interval = limit.seconds * 1000
  local ttl = redis.call('PTTL', limit.key)
  local counts = redis.call('MGET', limit.key, limit.previous)
  limit.count, limit.exists, limit.shift = tonumber(counts[1] or 0), ttl > 0, ttl > 0 and ttl < interval
  local faded, faded_ttl = 0, 0
  if limit.shift then -- this interval is over, its count becomes the previous one
    faded, faded_ttl, limit.count, limit.ttl = limit.count, ttl, 0, ttl
  else
    limit.ttl = ttl > 0 and ttl - interval or interval
    faded = tonumber(counts[2] or 0)
    if faded > 0 then faded_ttl = math.max(0, redis.call('PTTL', limit.previous)) end
  end
  limit.used = math.floor(faded * faded_ttl / interval) + limit.count
  if limit.used + 1 <= most then return 0 end
  if limit.count < most then
    return math.max(1, math.floor(faded_ttl - (most - limit.count) * interval / faded) + 1)
  end
  return math.max(1, math.floor(limit.ttl + interval - most * interval / limit.count) + 1)
end

local function wait_for(limit, most)
  return (limit.previous and sliding_wait or moving_wait)(limit, most)
end

-- Tests a window; spends nothing. An unknown device leaves some of it to known ones, and behind a new fence only half of
-- it may be used for messages. Returns the milliseconds until one more event fits, 0 when it does; how many
-- there are (a moving window keeps no more than it allows), and how many it may hold.
function limits.test(limit, unknown_device)
  local whole = unknown_device and limit.for_unknown or limit.amount
  limit.most = limit.scope == 'failed_checks' and whole or fence.limit(whole)
  local wait = wait_for(limit, limit.most)
  if wait > 0 and limit.most < whole then
    wait = math.min(wait, math.max(fence.cautious, wait_for(limit, whole)))
  end
  return wait, limit.used or limit.most, limit.most
end

-- Returns the application's own quota as it was tested: `most`, `used` and `ttl` of its narrowest window.
function limits.quota(list)
  for _, limit in ipairs(list) do
    if limit.quota then return limit end
  end
  return { most = 0, used = 0, ttl = 0 }
end

-- Counts one event in a window; to be called when there is room in all that it is counted in.
local function spend(limit)
  if not limit.previous then
    if redis.call('LPUSH', limit.key, stamp) > limit.amount then
      redis.call('LTRIM', limit.key, 0, limit.amount - 1)
    end
    redis.call('EXPIRE', limit.key, limit.seconds)
  elseif limit.shift then
    redis.call('RENAME', limit.key, limit.previous)
    redis.call('SET', limit.key, 1, 'PX', limit.ttl + limit.seconds * 1000)
  elseif limit.exists then
    redis.call('INCRBY', limit.key, 1)
  else
    redis.call('SET', limit.key, 1, 'PX', limit.seconds * 2000)
  end
end

-- Counts one event in every window of a list, those of one scope left out; to be called when there is room in all.
function limits.spend(list, left_out)
  for _, limit in ipairs(list) do
    if limit.scope ~= left_out then spend(limit) end
  end
end
