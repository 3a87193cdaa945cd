-- The evaluator of limits: every window is tested before any is spent. The algorithms are those of the limits library.
--
-- A window of the ruleset has a scope, a strategy, an amount and seconds, and may have `for_unknown`, how many of the amount
-- are for those who are not known. A moving window is a text of times, newest first, which all windows of a scope share
-- (see number); a sliding window counter is four values of a row: this interval's count, when that expires, and the same of
-- the interval before.
local limits = {}
local TIME = 6 -- bytes of a time in a text

-- Milliseconds until one more event fits into a moving window, 0 when it does now.
local function moving_wait(limit, most)
  local place = TIME * (most - 1) + 1
  if #limit.times < place then return 0 end
  local free = struct.unpack('<I6', limit.times, place) + limit.seconds * 1000 - now
  return free < 0 and 0 or math.max(1, free)
end

-- The same for a sliding window counter. Leaves in the limit how many there are, and when the interval ends.
local function sliding_wait(limit, most)
  local values, w, interval = limit.values, limit.place, limit.seconds * 1000
  local ttl, faded_ttl = math.max(0, values[w + 1] - now), math.max(0, values[w + 3] - now)
  local count, faded = ttl > 0 and values[w] or 0, faded_ttl > 0 and values[w + 2] or 0
  if ttl > 0 and ttl < interval then -- this interval is over, its count becomes the previous one
    faded, faded_ttl, count, limit.ttl = count, ttl, 0, ttl
  else
    limit.ttl = ttl > 0 and ttl - interval or interval
  end
  limit.used = math.floor(faded * faded_ttl / interval) + count
  if limit.used + 1 <= most then return 0 end
  if count < most then return math.max(1, math.floor(faded_ttl - (most - count) * interval / faded) + 1) end
  return math.max(1, math.floor(limit.ttl + interval - most * interval / count) + 1)
end

local function wait_for(limit, most)
  return (limit.strategy == 'moving-window' and moving_wait or sliding_wait)(limit, most)
end

-- Notes in the windows of a scope where their counts are: the text of a moving one, or the values of a row. They belong to the
-- call at hand.
function limits.bind(scope, times, values)
  for _, limit in ipairs(ruleset.windows) do
    if limit.scope == scope then limit.times, limit.values = times, values end
  end
end

-- Tests a window; spends nothing. An unknown device leaves some of it to known ones, and behind a new fence only half of
-- it may be used for messages. Returns the milliseconds until one more event fits, 0 when it does; how many
-- there are (a moving window tells no more than it allows), and how many it may hold.
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
function limits.quota(scopes)
  for _, limit in ipairs(ruleset.windows) do
    if limit.quota and scopes[limit.scope] then return limit end
  end
  return { most = 0, used = 0, ttl = 0 }
end

-- Counts one event in the sliding window counters of a scope; to be called when there is room in all that it is counted in.
function limits.spend(scope)
  for _, limit in ipairs(ruleset.windows) do
    if limit.scope == scope then
      local values, w, interval = limit.values, limit.place, limit.seconds * 1000
      local ttl = values[w + 1] - now
      if ttl <= 0 then
        values[w], values[w + 1] = 1, now + 2 * interval
      elseif ttl < interval then
        values[w + 2], values[w + 3] = values[w], values[w + 1]
        values[w], values[w + 1] = 1, now + ttl + interval
      else
        values[w] = values[w] + 1
      end
    end
  end
end

-- Returns a text of times with one more, those that no window of a scope looks at left out.
function limits.with_now(scope, times)
  local most, longest = 0, 0
  for _, limit in ipairs(ruleset.windows) do
    if limit.scope == scope then most, longest = math.max(most, limit.amount), math.max(longest, 1000 * limit.seconds) end
  end
  if most == 0 then return '' end
  local kept = math.min(#times / TIME, most - 1)
  while kept > 0 and struct.unpack('<I6', times, TIME * (kept - 1) + 1) < now - longest do kept = kept - 1 end
  return struct.pack('<I6', now) .. string.sub(times, 1, TIME * kept)
end
