-- Newcomers under suspicion: they are asked for a human check, or get the trickle where nobody can ask.
--
-- A country's row says what they meet, as a worker judged it (traffic_commit): until when they are under suspicion, how many pass
-- in an hour, and whether those who passed a check get the trickle too. Its tail says the same of carrier ranges, a line each.
local newcomers = {}
local HOUR, DAY = 3600000, 86400000
local TRICKLE = { window = HOUR / 4 } -- as a bucket: a quarter of an hour's messages may come at once

local function met(row, at, range)
  if row.tail ~= '' then
    local ends, trickle, checked = string.match('\n' .. row.tail, '\n' .. range .. ' (%d+) (%d+) (%d)')
    if ends then return tonumber(ends), tonumber(trickle), checked == '1' end
  end
  return row[at.tsuspicion], row[at.ntrickle], row[at.nchecked] == 1
end

-- Tests a start, and counts it in the trickle. Leaves in `sending` whether it is `asked` for a check here, or is one that `stood` it.
function newcomers.test(sending)
  local rule, row = ruleset.newcomers, sending.subjects.country
  if not rule or sending.kind ~= 'start' or sending.safe or sending.reputation.approved then return end
  local at = row.layout.at
  if row[at.tsuspicion] == 0 and row.tail == '' then return end
  local ends, trickle, checked_too = met(row, at, sending.range)
  if now >= ends then return end
  sending.stood = sending.check.passed == 'yes'
  if rule.asks and not checked_too then
    if sending.stood then return end
    sending.asked = true
    return rule_hits.add(sending.rule_hits, rule, ends - now, 0, 0)
  end
  local most, level = trickle / 4, row[at.lpassed] - trickle / HOUR * math.max(0, now - row[at.tpassed])
  level = math.max(0, level)
  local wait = buckets.wait(level, most, TRICKLE)
  if wait > 0 then rule_hits.add(sending.rule_hits, rule, wait, level, math.max(1, most)) end
  row[at.lpassed], row[at.tpassed], row.changed = level + 1, now, true
end

-- Notes for who judges that a start was asked for a check.
function newcomers.note_asked(sending)
  local about = sending.about
  local tallies = 'otp:{' .. about.application .. '}:tallies:' .. about.application
  redis.call('HINCRBY', tallies, about.country .. ':' .. sending.range .. ':' .. math.floor(now / 60000) .. ':n:q', 1)
  redis.call('PEXPIRE', tallies, DAY)
end
