-- The rule `country.unknown_numbers`: unknown numbers under suspicion need a human check, or share a trickle where no page can ask.
-- A worker writes the suspicions into a country's row (suspicions_note): their end, and whether checked numbers share the trickle too; its
-- tail has the same for number prefixes. A country has one trickle an hour.
local newcomers = {}
local HOUR = 3600000
local TRICKLE = { window = HOUR / 4 } -- as a bucket: a quarter of an hour's messages may come at once

-- Tests a start, or a resend, which needs no check, and counts it in the trickle. Sets `suspected` or `passed_under_suspicion`.
function newcomers.test(attempt)
  local rule, row = ruleset.newcomers, attempt.subjects.country
  if not rule or attempt.kind == 'fallback' or attempt.allowlisted or attempt.reputation.approved then return end
  -- A resend keeps the standing of its start: its own messages may have made the number a stranger.
  if attempt.kind == 'resend' and approvals.has(attempt.verification, 'a') then return end
  local at = row.layout.at
  if row[at.tsuspicion] == 0 and row.tail == '' then return end
  local ends, checked_too = row[at.tsuspicion], row[at.nchecked] == 1
  local own_ends, own_checked = string.match('\n' .. row.tail, '\n' .. attempt.range .. ' (%d+) (%d)')
  if own_ends then ends, checked_too = tonumber(own_ends), own_checked == '1' end
  if now >= ends then return end
  attempt.passed_under_suspicion = attempt.passed
  if rule.asks and not checked_too then
    if attempt.passed or attempt.kind == 'resend' then return end
    attempt.suspected = true
    return rule_hits.add(attempt.rule_hits, rule, ends - now, 0, 0)
  end
  local capacity = row[at.ntrickle] / 4
  local level = math.min(capacity, row[at.ltrickle]) - row[at.ntrickle] / HOUR * math.max(0, now - row[at.ttrickle])
  level = math.max(0, level)
  local wait = buckets.wait(level, capacity, TRICKLE)
  if wait > 0 then rule_hits.add(attempt.rule_hits, rule, wait, level, math.max(1, capacity)) end
  row[at.ltrickle], row[at.ttrickle], row.changed, attempt.trickled = level + 1, now, true, true
end

function newcomers.take_back(row)
  local level = row.layout.at.ltrickle
  row[level] = math.max(0, row[level] - 1)
end
