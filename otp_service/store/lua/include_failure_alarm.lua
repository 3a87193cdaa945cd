-- Wrong codes of an application, as a share of all it checks: one guess on each of many numbers shows nowhere else.
local failure_alarm = {}

-- Returns the milliseconds until the interval ends when too many codes fail, 0 when not; and the failed and checked codes of a row.
function failure_alarm.wait(application)
  local rule = ruleset.failures
  local wrong = counters.value(application, rule.wrong_at, rule.window)
  if wrong < rule.wrong then return 0 end
  local all = wrong + counters.value(application, rule.right_at, rule.window)
  return wrong > rule.share * all and rule.window - now % rule.window or 0, wrong, all
end

-- Counts a compared code. Returns, once in an interval in which too many fail, the end of the alarm and its text.
function failure_alarm.count(application, right)
  local rule = ruleset.failures
  local interval = math.floor(now / rule.window)
  counters.add(application, right and rule.right_at or rule.wrong_at, rule.window)
  application[rows.ENDS], application.changed = now + ruleset.lifetimes.failures, true
  local wait, wrong, all = failure_alarm.wait(application)
  if wait == 0 or application[rule.alarmed_at] == interval then return nil end
  application[rule.alarmed_at] = interval
  return now + wait, string.format('%s %.12g %.12g %d %d alarm', rule.rule, wrong, all, rule.window, wait)
end
