-- Leaky buckets of unapproved sends, whose size follows the traffic that is approved (domain/guard.py).
--
-- A row holds a level for each bucket, when the levels were so, and for each window a counter of approvals. A rule has an
-- amount, a window in milliseconds, a factor, and the places of its level and of its approvals. One with a `most_growth` grows by what
-- usual approvals give, so many times, at most, or by its amount. How many are usual has the place `usual`: a number that a worker
-- learnt, or a counter of the row's own approvals in a `usual_window`.
local buckets = {}

local function capacity_of(row, rule)
  local more = rule.factor * counters.value(row, rule.approved, rule.window)
  if rule.most_growth and more > rule.amount then
    local usual = rule.usual_window and counters.value(row, rule.usual, rule.usual_window) or row[rule.usual]
    more = math.min(more, math.max(rule.growth_of_usual * usual, rule.amount))
  end
  return rule.amount + more
end

-- Lets a bucket leak that holds something. Returns how much it holds now, and how much it may. What got smaller since it was
-- seen last, because approvals faded, is full and not more: otherwise a bucket that filled while it was large would refuse for
-- days.
function buckets.leak(row, rule)
  local capacity = capacity_of(row, rule)
  local level, passed = row[rule.level], now - row[rows.TIME]
  if level > capacity then level = capacity end
  if passed > 0 then level = level - capacity / rule.window * passed end
  return level > 0 and level or 0, capacity
end

-- Returns the milliseconds until one more fits, 0 when it does now.
function buckets.wait(level, capacity, rule)
  local excess = level + 1 - (capacity > 1 and capacity or 1)
  if excess <= 0 then return 0 end
  return math.max(1, math.ceil(excess * rule.window / capacity))
end
