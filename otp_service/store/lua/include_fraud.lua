-- Rules against codes that are asked for by nobody: breakers on conversion, and buckets of unapproved sends.
--
-- They come by the subject that they count in, a part of the ruleset. A part exempts what is known: a number that was approved,
-- or a device that was. What is exempt is not counted either.
--
-- What is found is noted in the ruleset, and belongs to the call at hand: `change` of a part, `held` and `counts` of a bucket.
local fraud = {}

local function exempt(sending, part)
  return sending.safe or (part.starts and sending.kind ~= 'start')
    or (part.exempts == 'approved' and sending.reputation.approved)
    or (part.exempts == 'known_device' and sending.reputation.known_device)
end

-- Judges the breaker of a part. Leaves in `sending` how it stands.
local function judge(sending, part, values)
  for _, rule in ipairs(part.breakers) do
    if not rule.place or rule.place == sending.place then
      conversions.advance(values, part.breaker)
      local stands, changed = conversions.judge(values, part.breaker, rule)
      local ends = values[part.breaker + 7]
      sending.stands[part.name] = stands
      if changed then part.change = { rule = rule, stands = stands, ends = ends } end
      if stands == 'open' and not rule.passes_while_open then
        rule_hits.add(sending.rule_hits, rule, ends - now, values[part.breaker + 8], 0)
      end
    end
  end
end

-- Tests the buckets of a part. Those that hold something leak, for they are written together; one that was never used has
-- room for at least one.
local function test(sending, part, values)
  for _, rule in ipairs(part.buckets) do
    rule.held, rule.counts = nil, false
    if not rule.place or rule.place == sending.place then
      rule.counts = (not rule.breaker or sending.stands[rule.breaker] == rule.breaker_state)
        and (not rule.new or sending.new[rule.new])
      local level, most = buckets.leak(values, rule)
      rule.held = level
      if rule.counts then rule_hits.add(sending.rule_hits, rule, buckets.wait(level, most, rule), level, most) end
    end
  end
end

-- Tests all that applies to a message. Leaves in `sending` what counting it needs.
function fraud.test(sending)
  sending.stands, sending.parts = {}, {}
  for _, part in ipairs(ruleset.parts) do
    part.change = nil
    if sending.subjects[part.name] and not exempt(sending, part) then
      judge(sending, part, sending.subjects[part.name].values)
      sending.parts[#sending.parts + 1] = part
    end
  end
  for _, part in ipairs(sending.parts) do test(sending, part, sending.subjects[part.name].values) end
end

-- Settles a part, with one more in each bucket that counts when `more` is 1.
local function settle(sending, part, more)
  local values = sending.subjects[part.name].values
  for _, rule in ipairs(part.buckets) do
    if rule.held then values[rule.level] = rule.held + (rule.counts and more or 0) end
  end
  values[rows.ENDS], values[rows.TIME] = now + ruleset.lifetimes[part.name], now
  if sending.stands[part.name] and sending.kind == 'start' then
    values[part.breaker + 1] = values[part.breaker + 1] + more
  end
  sending.touched[part.name] = true
end

-- Counts a message in all that was tested, and a start for the breakers too.
function fraud.count(sending)
  for _, part in ipairs(sending.parts) do settle(sending, part, 1) end
end

-- Settles the parts whose breakers changed, of a message that is refused.
function fraud.settle_changes(sending)
  for _, part in ipairs(sending.parts) do
    if part.change then settle(sending, part, 0) end
  end
end
