-- Wrong codes of an application, as a share of all it checks: one guess on each of many numbers shows nowhere else.
local failure_alarm = {}

-- Returns the milliseconds until the present interval ends when more codes fail than may, 0 when they do not; and how many
-- failed, and were checked.
function failure_alarm.wait(kept)
  local rule = ruleset.failures
  local wrong, right = counters.value(kept.wrong, rule.window), counters.value(kept.right, rule.window)
  local high = wrong >= rule.wrong and wrong > rule.share * (wrong + right)
  return high and rule.window - now % rule.window or 0, wrong, wrong + right
end

-- Counts a compared code. Returns whether more fail than may, and that was not told in this interval yet.
function failure_alarm.count(key, kept, right)
  local rule = ruleset.failures
  if not rule then return false end
  local name, interval = right and 'right' or 'wrong', math.floor(now / rule.window)
  kept[name] = counters.add(kept[name], rule.window)
  local tell = failure_alarm.wait(kept) > 0 and kept.told ~= interval
  if tell then kept.told = interval end
  states.write(key, kept, ruleset.lifetimes.failures)
  return tell
end

-- Reports the alarm.
function failure_alarm.report(stream, length, age, kept, about)
  local wait, wrong, all = failure_alarm.wait(kept)
  rule_hits.report_change(stream, length, age, ruleset.failures, 'alarm', now + wait, about.application, '',
    string.format('%s %.12g %.12g %d %d alarm', ruleset.failures.rule, wrong, all, ruleset.failures.window, wait))
end
