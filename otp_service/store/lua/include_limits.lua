-- The algorithms of the limits library.
-- A window has a scope, an amount, seconds and milliseconds, and maybe `for_unknown`, the amount's share of unknown devices. A moving
-- window reads times, newest first, in a text that all windows of a scope share (see number). A sliding window is four values of a row:
-- this interval's count, when it expires, and the same of the former interval; where buckets share it, four more from `full` on (f in
-- rows): a worker sums it once a bucket counts more than its `part`. A bucket allows the whole amount, or `unsummed` if a sum is late.
local limits = {}
local TIME = 6 -- bytes of a time in a text
local AGAIN, LATE = 2000, 10000

-- Returns the milliseconds until an event fits into a moving window of `max_count`, 0 for now.
function limits.moving_wait(window, times, max_count)
  local place = TIME * (max_count - 1) + 1
  if #times < place then return 0 end
  local free = struct.unpack('<I6', times, place) + window.milliseconds - now
  if free < 0 or free > window.milliseconds + clock.WRONG then return 0 end
  return math.max(1, free)
end

-- The same for a sliding window, which is brought to the present. Leaves `used` and the interval's `ttl` in the window.
function limits.sliding_wait(window, row, max_count)
  local w, interval = window.place, window.milliseconds
  local ttl = row[w + 1] - now
  if ttl <= 0 or ttl > 2 * interval + clock.WRONG then
    row[w], row[w + 1], row[w + 2], row[w + 3] = 0, now + 2 * interval, 0, 0
  elseif ttl < interval then -- this interval is over, its count becomes the previous one
    row[w], row[w + 1], row[w + 2], row[w + 3] = 0, now + ttl + interval, row[w], row[w + 1]
  end
  local count, faded, faded_ttl = row[w], row[w + 2], row[w + 3] - now
  local used = faded_ttl > 0 and math.floor(faded * faded_ttl / interval) + count or count
  window.used, window.ttl = used, row[w + 1] - now - interval
  if used + 1 <= max_count then return 0 end
  if count < max_count then return math.max(1, math.floor(faded_ttl - (max_count - count) * interval / faded) + 1) end
  return math.max(1, math.floor(window.ttl + interval - max_count * interval / count) + 1)
end

-- Marks a row `unsummed` to request a sum, every two seconds. Tells whether the sum is late; a single lost request is not.
local function is_sum_late(row, f)
  local requested, due = row[f + 2], row[f + 3]
  if due == 0 or due > now + clock.WRONG or (requested <= due and now - due >= LATE) then
    row.unsummed, row[f + 2], row[f + 3] = true, now, now
    return false
  end
  if now - due >= AGAIN then row.unsummed, row[f + 2] = true, now end
  return now - due >= LATE
end

-- The same for a sliding window that buckets share; `wait` is that of this bucket alone.
function limits.shared_wait(window, row, wait)
  local f, own = window.full, window.used
  local full = row[f] - now
  if full > 0 and full <= 2 * window.milliseconds + clock.WRONG then
    window.used, window.ttl = window.amount, full
    return math.max(wait, full)
  end
  local is_late = wait == 0 and own + 1 > window.part and is_sum_late(row, f)
  if is_late then wait = limits.sliding_wait(window, row, window.unsummed) end
  if now - row[f + 2] < LATE then window.used = math.max(own, row[f + 1]) end
  return wait
end

-- Adds now to a text of times, without those that no window of the scope looks at.
function limits.with_now(scope, times)
  local windows = ruleset.windows[scope]
  if windows.max_count == 0 then return '' end
  if times == '' then return struct.pack('<I6', now) end
  local count = math.min(#times / TIME, windows.max_count - 1)
  while count > 0 and struct.unpack('<I6', times, TIME * (count - 1) + 1) < now - windows.longest do count = count - 1 end
  return struct.pack('<I6', now) .. string.sub(times, 1, TIME * count)
end
