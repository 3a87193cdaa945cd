-- Leaky buckets of unapproved sends, whose size follows the traffic that is approved (domain/guard.py).
--
-- A row holds a level for each bucket, when the levels were so, and for each window a counter of approvals. A rule has an
-- amount, a window in milliseconds, a factor, and the places of its level and of its approvals.
local buckets = {}

-- Lets a bucket leak since it was seen last. Returns how much it holds, and how much it may. What got smaller since, because
-- approvals faded, is full and not more: otherwise a bucket that filled while it was large would refuse for days.
function buckets.leak(values, rule)
  local most = rule.amount + rule.factor * counters.value(values, rule.approved, rule.window)
  local level = values[rule.level]
  if level == 0 then return 0, most end
  return math.max(0, math.min(level, most) - most / rule.window * math.max(0, now - values[rows.TIME])), most
end

-- Returns the milliseconds until one more fits, 0 when it does now.
function buckets.wait(level, most, rule)
  local excess = level + 1 - math.max(1, most)
  return excess > 0 and math.max(1, math.ceil(excess * rule.window / most)) or 0
end
