-- What rules have to say of a request: each finding is a rule, and how long it refuses. Those of rules that only record
-- refuse nothing; they are told all the same.
local findings = {}

-- Notes what a rule says: nothing when there is no wait. `used` of `most` tells how far it is from its limit.
function findings.note(list, rule, wait, used, most)
  if wait <= 0 then return end
  local window = rule.window or rule.interval or 1000 * (rule.seconds or 0)
  list[#list + 1] = { rule = rule.rule, wait = wait, used = used, most = most, window = window,
    records = rule.record_only }
end

-- Returns the finding with the longest wait: of those that refuse when there is one, otherwise of all; nil for none.
function findings.first(list)
  local first
  for _, one in ipairs(list) do
    local weighs_more = first and (first.records or false) == (one.records or false) and one.wait > first.wait
    if not first or (first.records and not one.records) or weighs_more then first = one end
  end
  return first
end

-- Reports a decision: the rule that decided and what the others found. Returns its identifier. `about` names a
-- verification, without an identifier when none was made; `lane` is known or strange.
function findings.report(stream, length, age, list, about, kind, lane)
  local first, all = findings.first(list), {}
  for i, one in ipairs(list) do
    all[i] = string.format('%s %.12g %.12g %d %d %s', one.rule, one.used, one.most, one.window, one.wait,
      one.records and 'record_only' or 'enforce')
  end
  local id = redis.call('XADD', stream, 'MAXLEN', '~', length, '*', 'rule', first.rule,
    'mode', first.records and 'record_only' or 'enforce', 'kind', kind, 'lane', lane, 'until', now + first.wait,
    'id', about.id or '', 'application', about.application, 'purpose', about.purpose, 'country', about.country,
    'findings', table.concat(all, ','))
  redis.call('XTRIM', stream, 'MINID', '~', now - age)
  return id
end

-- Reports what changed for all: that a breaker opened or closed, an alarm.
function findings.tell(stream, length, age, rule, what, ends, about, ...)
  redis.call('XADD', stream, 'MAXLEN', '~', length, '*', 'rule', rule.rule, 'mode', what, 'kind', 'change',
    'until', ends, 'id', '', 'application', about.application, 'purpose', '', 'country', about.country, ...)
  redis.call('XTRIM', stream, 'MINID', '~', now - age)
end
