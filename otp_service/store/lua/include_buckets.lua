-- Leaky buckets of unapproved sends, whose size follows the traffic that is approved (core/guard/bucket.py).
--
-- What is kept of an address, a block or a country holds a level for each of its buckets, when they were so (`at`), and
-- for each window the approvals: number of the interval|approvals in it|in the one before. A rule has an amount, a
-- window in milliseconds, a factor, and the names of its level and of its approvals.
local buckets = {}

-- Returns how many sends a bucket holds.
local function capacity(kept, rule)
  local state = kept[rule.approvals]
  if not state then return rule.amount end
  local interval, approved, before = states.three(state)
  local passed = math.floor(now / rule.window) - interval
  if passed > 1 then return rule.amount end
  if passed == 1 then approved, before = 0, approved end
  return math.max(rule.amount, rule.factor * (approved + before * (1 - (now % rule.window) / rule.window)))
end

-- Lets a bucket leak since it was seen last. Returns how much it holds, and how much it may.
function buckets.now(kept, rule)
  local most, level = capacity(kept, rule), kept[rule.name]
  if not level then return 0, most end
  return math.max(0, level - most / rule.window * math.max(0, now - kept.at)), most
end

-- Returns the milliseconds until one more fits, 0 when it does now.
function buckets.wait(level, most, rule)
  local excess = level + 1 - math.max(1, most)
  return excess > 0 and math.max(1, math.ceil(excess * rule.window / most)) or 0
end

-- Counts an approval in a window.
function buckets.approve(kept, rule)
  local interval, approved, before = states.three(kept[rule.approvals])
  local present = math.floor(now / rule.window)
  if present ~= interval then approved, before = 0, present == interval + 1 and approved or 0 end
  kept[rule.approvals] = string.format('%d|%d|%d', present, approved + 1, before)
end
