-- What rules found of subjects in other slots than the number's, when a message was counted there (see reserving): the number's slot decides
-- by it as it does by states of its own.
--
-- It comes in groups, by name: `starts` (the windows of an address), `targets` (what is new to it), `requests` (the windows of the
-- application), `failures`, `money`, `newcomers`, and the parts of the rules against fraud. Each group has its `hits`, if any, and tells whether it `counted`
-- the message: it did, unless one of them refuses. What a number's reputation spares is known here alone: it is given back.
--
-- A block's trickle counts only while the country's breaker is open. Its slot was told how that stood last; where it stands
-- otherwise, the message is to be counted anew.
local findings = {}

-- Returns the groups of packed findings, by name.
function findings.read(packed)
  local groups = {}
  for _, one in ipairs(packed) do
    local told = cmsgpack.unpack(one)
    for name, group in pairs(told.groups) do groups[name], group.at = group, told.at end
  end
  return groups
end

-- Takes over what a group found, if it is not spared. Returns the group then.
local function take(sending, name, spared)
  local group, list = sending.findings[name], sending.rule_hits
  local hits = group and group.hits
  if not group then return nil end
  if spared then
    if group.counted or group.change then sending.spared = sending.spared .. name .. ' ' end
    return nil
  end
  for i = 1, hits and #hits or 0 do list[#list + 1] = hits[i] end
  return group
end

-- Takes over what was found in windows, and what is new to the address.
function findings.take_windows(sending)
  local targets = sending.findings.targets
  sending.spared = ''
  if targets then sending.new = targets.new end
  take(sending, 'starts', sending.reputation.known_device)
  local requests = take(sending, 'requests')
  sending.quota = requests and requests.quota
end

-- Returns how the breaker stands that a part's buckets follow, as far as it matters to them: a state, or nothing.
local function followed(sending, part)
  local state = sending.stands[part.follows.breaker]
  return state == part.follows.state and state or ''
end

-- Takes over all else. Leaves in `sending` when its money was counted (`money_at`), and how the country's breaker stands where a block
-- assumed otherwise: `misjudged`.
function findings.take_rest(sending)
  local reputation = sending.reputation
  sending.counted, sending.stands, sending.changes = '', {}, {}
  if not reputation.known_device then take(sending, 'failures') end -- which counts nothing
  sending.money_at = take(sending, 'money').at
  local suspicion = take(sending, 'newcomers', newcomers.spares(sending))
  if suspicion then
    sending.suspected, sending.repeated = suspicion.suspected, suspicion.repeated
    sending.passed_under_suspicion = suspicion.passed_under_suspicion
  end
  for _, part in ipairs(ruleset.parts_of[sending.kind][sending.place]) do
    local group = take(sending, part.name, reputation[part.exempts])
    if group then
      if group.change then
        sending.changes[#sending.changes + 1] = { part = part, stands = group.change.stands, ends = group.change.ends }
      end
      sending.counted, sending.stands[part.name] = sending.counted .. group.marks, group.stands
      local stands = part.follows and followed(sending, part)
      if stands and group.assumed ~= stands then sending.misjudged = stands end
    end
  end
end
