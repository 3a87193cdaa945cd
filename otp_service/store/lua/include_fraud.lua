-- Rules against codes that are requested and never typed in: breakers on conversion, and buckets of unapproved sends.
-- They come by subject, a part of the ruleset (ruleset_register). A part exempts approved numbers or known devices, and does not count
-- them either. A test counts at once, in rows that are not written when anything refuses the message.
local fraud = {}

local function meets(attempt, rule) return attempt[rule.condition][rule.key] == rule.value end

-- Tests and counts in a part: its breaker, then its buckets. All leak, for they are written together; an empty bucket has room.
local function test_part(attempt, part, row)
  local breaker, b = part.breaker, part.breaker_at
  if breaker then
    conversions.advance(row, b)
    local judged, changed = conversions.judge(row, b, breaker)
    local stands = breaker.asks and attempt.passed and 'passed' or judged
    attempt.stands[part.name] = stands
    if changed then attempt.changes[#attempt.changes + 1] = { part = part, stands = judged, ends = row[b + 7] } end
    if stands == 'open' and not breaker.passes_while_open then
      rule_hits.add(attempt.rule_hits, breaker, row[b + 7] - now, row[b + 8], 0)
    end
    if attempt.kind == 'start' then row[b + 1] = row[b + 1] + 1 end
  end
  local rules, counted = part.buckets, attempt.counted
  for i = 1, #rules do
    local rule = rules[i]
    local level, counts = row[rule.level], rule.always or meets(attempt, rule)
    if level > 0 then
      local capacity
      level, capacity = buckets.leak(row, rule)
      local wait = counts and level + 1 > capacity and buckets.wait(level, capacity, rule) or 0
      if wait > 0 then rule_hits.add(attempt.rule_hits, rule, wait, level, capacity) end
    end
    if counts then level, counted = level + 1, counted .. rule.mark end
    row[rule.level] = level
  end
  attempt.counted = counted
  row[rows.ENDS], row[rows.TIME], row.changed = now + part.life, now, true
end

-- Tests and counts a message; `attempt.counted` has the marks of its buckets.
function fraud.test(attempt)
  local states, reputation = attempt.subjects, attempt.reputation
  attempt.counted, attempt.stands, attempt.changes = '', {}, {}
  if attempt.allowlisted then return end
  local parts = ruleset.parts_of[attempt.kind][attempt.zone]
  for i = 1, #parts do
    local part = parts[i]
    local row = states[part.name]
    if row and not reputation[part.exempts] then test_part(attempt, part, row) end
  end
end

-- Writes, for a refused message, the rows whose breakers changed, without its counts.
function fraud.keep_changes(attempt)
  for _, change in ipairs(attempt.changes) do
    local part, row = change.part, attempt.subjects[change.part.name]
    if row then
      for _, rule in ipairs(part.buckets) do
        if rule.always or meets(attempt, rule) then row[rule.level] = math.max(0, row[rule.level] - 1) end
      end
      if attempt.kind == 'start' then row[part.breaker_at + 1] = math.max(0, row[part.breaker_at + 1] - 1) end
      if attempt.trickled and part.name == 'country' then newcomers.take_back(row) end
      rows.write(row, row.life)
    end
  end
end
