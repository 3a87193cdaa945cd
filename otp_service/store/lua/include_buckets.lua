-- Leaky buckets of unapproved sends, whose size follows the traffic that is approved (domain/guard.py).
--
-- What is kept of an address, a block or a country holds a level for each of its buckets, when they were so (`at`), and
-- for each window a counter of approvals. A rule has an amount, a window in milliseconds, a factor, and the names of
-- its level and of its approvals.
local buckets = {}

-- Lets a bucket leak since it was seen last. Returns how much it holds, and how much it may. What got smaller since, because
-- approvals faded, is full and not more: otherwise a bucket that filled while it was large would refuse for days.
function buckets.leak(kept, rule)
  local level, most = kept[rule.name], rule.amount
  if kept[rule.approvals] then
    most = most + rule.factor * counters.value(kept[rule.approvals], rule.window)
  end
  if not level then return 0, most end
  return math.max(0, math.min(level, most) - most / rule.window * math.max(0, now - kept.at)), most
end

-- Returns the milliseconds until one more fits, 0 when it does now.
function buckets.wait(level, most, rule)
  local excess = level + 1 - math.max(1, most)
  return excess > 0 and math.max(1, math.ceil(excess * rule.window / most)) or 0
end

-- Gives sends back to a bucket, which leaks afterwards.
function buckets.give_back(kept, rule, sends)
  if kept[rule.name] then kept[rule.name] = math.max(0, kept[rule.name] - sends) end
end
