-- Rules against codes that are asked for by nobody: breakers on conversion, and buckets of unapproved sends.
--
-- Both spare what is known: a number that was approved, a context that was. What is spared is not counted either.
local fraud = {}

local function applies(sending, rule)
  if not sending.kept[rule.part] or (rule.place and rule.place ~= sending.place) then return false end
  return not (sending.safe or (rule.spares == 'approved' and sending.standing.approved)
    or (rule.spares == 'familiar' and sending.standing.familiar))
end

-- Judges the breakers. Leaves in `sending` how they stand, which of them changed, and what they have seen.
local function judge(sending)
  sending.stands, sending.seen, sending.changes = {}, {}, {}
  for _, rule in ipairs(ruleset.breakers) do
    if applies(sending, rule) then
      local seen = conversions.now(sending.kept[rule.part].c)
      local stands, changed = conversions.judge(seen, rule)
      sending.stands[rule.part], sending.seen[rule.part] = stands, seen
      sending.kept[rule.part].c = conversions.state(seen)
      if changed then sending.changes[#sending.changes + 1] = { rule = rule, stands = stands, until_ = seen[8] } end
      if stands == 'open' and not rule.flows then
        findings.note(sending.findings, rule, seen[8] - now, seen[9], 0)
      end
    end
  end
end

-- Tests all that applies to a message. Leaves in `sending` what counting it needs.
function fraud.test(sending)
  judge(sending)
  sending.levels = {}
  for _, rule in ipairs(ruleset.buckets) do
    local stands = not rule.breaker or sending.stands[rule.breaker] == rule.stands
    local counts = not (rule.starts and sending.kind ~= 'start') and (not rule.new or sending.new[rule.new])
    if counts and stands and applies(sending, rule) then
      local kept = sending.kept[rule.part]
      local level, most = buckets.now(kept, rule)
      findings.note(sending.findings, rule, buckets.wait(level, most, rule), level, most)
      sending.levels[#sending.levels + 1] = { kept = kept, part = rule.part, name = rule.name, level = level }
    end
  end
end

-- Lets all other buckets of a part leak too, before it is written as it is now.
local function settle_levels(sending, part)
  local kept = sending.kept[part]
  for _, rule in ipairs(ruleset.buckets) do
    if rule.part == part and kept[rule.name] and (not rule.place or rule.place == sending.place) then
      kept[rule.name] = buckets.now(kept, rule)
    end
  end
  kept.at = now
end

-- Counts a message in all that was tested, and a start for the breakers too.
function fraud.count(sending)
  local touched = {}
  for _, one in ipairs(sending.levels) do
    if not touched[one.part] then settle_levels(sending, one.part) end
    touched[one.part] = true
    one.kept[one.name] = one.level + 1
  end
  for part, seen in pairs(sending.seen) do
    if sending.kind == 'start' then seen[2] = seen[2] + 1 end
    sending.kept[part].c, touched[part] = conversions.state(seen), true
  end
  for part in pairs(touched) do states.write(sending.keys[part], sending.kept[part], ruleset.lives[part]) end
end

-- Writes the breakers that changed, of a message that is refused.
function fraud.remember(sending)
  for _, change in ipairs(sending.changes) do
    local part = change.rule.part
    settle_levels(sending, part)
    states.write(sending.keys[part], sending.kept[part], ruleset.lives[part])
  end
end
