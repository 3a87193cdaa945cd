-- Hits of rules on a request: a rule, and how long it refuses. Hits of rules that only record refuse nothing.
local rule_hits = {}

function rule_hits.add(list, rule, wait, used, max_count)
  local window = rule.window or rule.interval or rule.milliseconds or 0
  list[#list + 1] = { rule = rule.rule, wait = wait, used = used, max_count = max_count, window = window,
    records = rule.record_only, asks = rule.asks }
end

-- Tells whether a human check would lift every refusal.
function rule_hits.only_ask(list)
  for _, hit in ipairs(list) do
    if not hit.records and not hit.asks then return false end
  end
  return true
end

-- Returns the hit with the longest wait, of those that refuse if any; nil for none.
function rule_hits.first(list)
  local first
  for _, hit in ipairs(list) do
    local weighs_more = first and (first.records or false) == (hit.records or false) and hit.wait > first.wait
    if not first or (first.records and not hit.records) or weighs_more then first = hit end
  end
  return first
end

function rule_hits.refusal(list)
  local first = rule_hits.first(list)
  return first and not first.records and first or nil
end

function rule_hits.rules(list)
  if #list == 0 then return '' end
  local names = {}
  for i, hit in ipairs(list) do names[i] = hit.rule end
  return table.concat(names, ' ')
end

-- Writes a decision and returns its identifier. Further fields are for `guard replay`: `attempt` or `price`, and `after`, the last event.
function rule_hits.append(stream, length, age, rule, mode, kind, trust, ends, verification, text, ...)
  local id = redis.call('XADD', stream, 'MAXLEN', '~', length, '*', 'rule', rule, 'mode', mode, 'kind', kind,
    'trust', trust, 'until', ends, 'id', verification.id or '', 'application', verification.application,
    'purpose', verification.purpose or '', 'country', verification.country, 'rule_hits', text, ...)
  redis.call('XTRIM', stream, 'MINID', now - age) -- exactly: what it tells is not kept for longer
  redis.call('PEXPIRE', stream, age)
  return id
end

-- Reports the hit that decided, and the others. Returns the identifier of the decision. `trust` is known or unknown.
function rule_hits.report(stream, length, age, list, verification, kind, trust, ...)
  local first, all = rule_hits.first(list), {}
  for i, hit in ipairs(list) do
    all[i] = string.format('%s %.12g %.12g %d %d %s', hit.rule, hit.used, hit.max_count, hit.window, hit.wait,
      hit.records and 'record_only' or 'enforce')
  end
  return rule_hits.append(stream, length, age, first.rule, first.records and 'record_only' or 'enforce', kind, trust,
    now + first.wait, verification, table.concat(all, ','), ...)
end

-- Reports a change for all: a breaker that opened or closed, an alarm. The country is empty where it concerns all.
function rule_hits.report_change(stream, length, age, rule, mode, ends, application, country, text)
  rule_hits.append(stream, length, age, rule.rule, mode, 'change', '', ends, { application = application, country = country }, text)
end
