-- Leaky buckets of unapproved sends, whose size follows the approved traffic (domain/guard.py).
-- A row holds a level for each bucket, the time of the levels, and a counter of approvals for each window. A rule with `max_growth`
-- grows by that many times what usual approvals give, or by its amount: `usual` is a number that a worker learnt, or a counter of
-- approvals in a `usual_window`.
local buckets = {}

-- Returns a bucket's level now, and its capacity. A level falls to the capacity: a bucket that filled while large would refuse for days.
function buckets.leak(row, rule)
  local more = rule.factor * counters.value(row, rule.approved, rule.window)
  if rule.max_growth and more > rule.amount then
    local usual = rule.usual_window and counters.value(row, rule.usual, rule.usual_window) or row[rule.usual]
    more = math.min(more, math.max(rule.growth_of_usual * usual, rule.amount))
  end
  local capacity = rule.amount + more
  local level, passed = row[rule.level], now - row[rows.TIME]
  if level > capacity then level = capacity end
  if passed > 0 then level = level - capacity / rule.window * passed end
  return level > 0 and level or 0, capacity
end

-- Returns the milliseconds until there is room for a message, 0 for now.
function buckets.wait(level, capacity, rule)
  local excess = level + 1 - (capacity > 1 and capacity or 1)
  if excess <= 0 then return 0 end
  return math.max(1, math.ceil(excess * rule.window / capacity))
end
