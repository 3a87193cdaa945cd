-- The evaluator of limits: data in, decision out. Every window is tested before any is spent.
-- The algorithms and the stored form are those of the limits library's Redis storage, so that it can read
-- and clear what is counted here.
--
-- A limit is three ARGV: strategy, amount, seconds; and its keys: one for a moving window (the times of the
-- last events, newest first), two for a sliding window counter (this interval's count, the previous one's).
local limits = {}

-- Returns the limit whose ARGV begin at `arg`, on `key`.
function limits.limit(arg, key)
  return { strategy = ARGV[arg], amount = tonumber(ARGV[arg + 1]), seconds = tonumber(ARGV[arg + 2]), key = key }
end

-- Reads `count` limits: their ARGV from `arg`, their KEYS from `key`. Returns them, and the next of both.
function limits.read(count, arg, key)
  local list = {}
  for i = 1, count do
    local limit = limits.limit(arg, KEYS[key])
    if limit.strategy == 'sliding-window-counter' then
      limit.previous = KEYS[key + 1]
      key = key + 1
    end
    list[i], arg, key = limit, arg + 3, key + 1
  end
  return list, arg, key
end

-- Milliseconds until one more event fits into a moving window, 0 when it does now.
local function moving_wait(limit)
  local entry = redis.call('LINDEX', limit.key, limit.amount - 1)
  if not entry then return 0 end
  local free = tonumber(entry) + limit.seconds - tonumber(stamp)
  if free < 0 then return 0 end
  return math.max(1, math.ceil(free * 1000))
end

-- The same for a sliding window counter. Leaves in the limit what spending it needs.
local function sliding_wait(limit)
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
  if limit.used + 1 <= limit.amount then return 0 end
  if limit.count < limit.amount then
    return math.max(1, math.floor(faded_ttl - (limit.amount - limit.count) * interval / faded) + 1)
  end
  return math.max(1, math.floor(limit.ttl + interval - limit.amount * interval / limit.count) + 1)
end

-- Tests all limits; spends nothing. Returns the place of the one with the longest wait, and that wait in
-- milliseconds; nil and 0 when all have room.
function limits.refusal(list)
  local place, longest = nil, 0
  for i, limit in ipairs(list) do
    local wait = (limit.strategy == 'moving-window' and moving_wait or sliding_wait)(limit)
    if wait > longest then place, longest = i, wait end
  end
  return place, longest
end

-- Counts one event in every limit; to be called after `limits.refusal` has found room in all of them.
function limits.spend(list)
  for _, limit in ipairs(list) do
    if limit.strategy == 'moving-window' then
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
end
