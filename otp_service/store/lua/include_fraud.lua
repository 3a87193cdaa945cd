-- Rules against codes that are asked for by nobody: breakers on conversion, and buckets of unapproved sends.
--
-- They come by the part of the guard that they count in. A part exempts what is known: a number that was approved, or a
-- context that was. What is spared is not counted either.
--
-- What is found is noted in the ruleset, and belongs to the call at hand: `kept`, `seen` and `change` of a part, `level` and
-- `counts` of a bucket.
local fraud = {}

local function spared(sending, part)
  return sending.safe or (part.starts and sending.kind ~= 'start')
    or (part.exempts == 'approved' and sending.reputation.approved)
    or (part.exempts == 'known_device' and sending.reputation.known_device)
end

-- Judges the breaker of a part. Leaves in `sending` how it stands.
local function judge(sending, part)
  for _, rule in ipairs(part.breakers) do
    if not rule.place or rule.place == sending.place then
      local seen = conversions.advance(part.kept.c)
      local stands, changed = conversions.judge(seen, rule)
      sending.stands[part.name], part.seen = stands, seen
      if changed then part.change = { rule = rule, stands = stands, ends = seen[8] } end
      if stands == 'open' and not rule.passes_while_open then
        rule_hits.add(sending.rule_hits, rule, seen[8] - now, seen[9], 0)
      end
    end
  end
end

-- Tests the buckets of a part. Those that hold something leak, for they are written together; one that was never used has
-- room for at least one.
local function test(sending, part)
  for _, rule in ipairs(part.buckets) do
    rule.level = nil
    rule.counts = false
    if not rule.place or rule.place == sending.place then
      rule.counts = (not rule.breaker or sending.stands[rule.breaker] == rule.breaker_state)
        and (not rule.new or sending.new[rule.new])
      if part.kept[rule.name] then
        local level, most = buckets.leak(part.kept, rule)
        rule.level = level
        if rule.counts then rule_hits.add(sending.rule_hits, rule, buckets.wait(level, most, rule), level, most) end
      elseif rule.counts then
        rule.level = 0
      end
    end
  end
end

-- Tests all that applies to a message. Leaves in `sending` what counting it needs.
function fraud.test(sending)
  sending.stands, sending.parts = {}, {}
  for _, part in ipairs(ruleset.parts) do
    part.kept, part.seen, part.change = sending.kept[part.name], nil, nil
    if part.kept and not spared(sending, part) then
      judge(sending, part)
      sending.parts[#sending.parts + 1] = part
    end
  end
  for _, part in ipairs(sending.parts) do test(sending, part) end
end

-- Writes a part, with one more in each bucket that counts when `more` is 1.
local function write(sending, part, more)
  local kept = part.kept
  for _, rule in ipairs(part.buckets) do
    if rule.level then kept[rule.name] = rule.level + (rule.counts and more or 0) end
  end
  kept.at = now
  if part.seen then
    if sending.kind == 'start' then part.seen[2] = part.seen[2] + more end
    kept.c = part.seen
  end
  states.write(sending.keys[part.name], kept, ruleset.lifetimes[part.name])
end

-- Counts a message in all that was tested, and a start for the breakers too.
function fraud.count(sending)
  for _, part in ipairs(sending.parts) do write(sending, part, 1) end
end

-- Writes the breakers that changed, of a message that is refused.
function fraud.write_changes(sending)
  for _, part in ipairs(sending.parts) do
    if part.change then write(sending, part, 0) end
  end
end
