-- Wrong codes of an application, as a share of all it checks: one guess on each of many numbers shows nowhere else.
local failure_alarm = {}

-- Returns the milliseconds until the present interval ends when more codes fail than may, 0 when they do not; and how many
-- failed, and were checked. `values` are the application's.
function failure_alarm.wait(values)
  local rule = ruleset.failures
  local wrong, right = counters.value(values, rule.wrong_at, rule.window), counters.value(values, rule.right_at, rule.window)
  local high = wrong >= rule.wrong and wrong > rule.share * (wrong + right)
  return high and rule.window - now % rule.window or 0, wrong, wrong + right
end

-- Counts a compared code. Returns whether more fail than may, and that was not told in this interval yet.
function failure_alarm.count(values, right)
  local rule = ruleset.failures
  local interval = math.floor(now / rule.window)
  counters.add(values, right and rule.right_at or rule.wrong_at, rule.window)
  local tell = failure_alarm.wait(values) > 0 and values[rule.told_at] ~= interval
  if tell then values[rule.told_at] = interval end
  values[rows.ENDS] = now + ruleset.lifetimes.failures
  return tell
end

-- Reports the alarm.
function failure_alarm.report(stream, length, age, values, about)
  local wait, wrong, all = failure_alarm.wait(values)
  rule_hits.report_change(stream, length, age, ruleset.failures, 'alarm', now + wait, about.application, '',
    string.format('%s %.12g %.12g %d %d alarm', ruleset.failures.rule, wrong, all, ruleset.failures.window, wait))
end
