-- Wrong codes of an application, as a share of all it checks: one guess on each of many numbers shows nowhere else.
local failure_alarm = {}

-- Returns the milliseconds until the present interval ends when more codes fail than may, 0 when they do not; and how many
-- failed, and were checked. `application` is its row.
function failure_alarm.wait(application)
  local rule = ruleset.failures
  local wrong = counters.value(application, rule.wrong_at, rule.window)
  if wrong < rule.wrong then return 0 end
  local all = wrong + counters.value(application, rule.right_at, rule.window)
  return wrong > rule.share * all and rule.window - now % rule.window or 0, wrong, all
end

-- Counts a compared code. Returns whether more fail than may, and that was not told in this interval yet.
function failure_alarm.count(application, right)
  local rule = ruleset.failures
  local interval = math.floor(now / rule.window)
  counters.add(application, right and rule.right_at or rule.wrong_at, rule.window)
  local tell = failure_alarm.wait(application) > 0 and application[rule.told_at] ~= interval
  if tell then application[rule.told_at] = interval end
  application[rows.ENDS], application.changed = now + ruleset.lifetimes.failures, true
  return tell
end

-- Reports the alarm.
function failure_alarm.report(stream, length, age, application, about)
  local wait, wrong, all = failure_alarm.wait(application)
  rule_hits.report_change(stream, length, age, ruleset.failures, 'alarm', now + wait, about.application, '',
    string.format('%s %.12g %.12g %d %d alarm', ruleset.failures.rule, wrong, all, ruleset.failures.window, wait))
end
