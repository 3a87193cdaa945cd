-- Registers an application's rules: computes once where they count in the rows of subjects, and which apply where.
-- include clock rows
local DAY = 86400000
local rules = cjson.decode(arg.text)
local layouts = rules.layouts
for subject, names in pairs(layouts) do layouts[subject] = rows.layout(names) end

for scope, windows in pairs(rules.windows) do
  windows.max_count, windows.longest = 0, 0
  for _, window in ipairs(windows) do
    window.milliseconds = 1000 * window.seconds
    windows.max_count, windows.longest = math.max(windows.max_count, window.amount), math.max(windows.longest, window.milliseconds)
    if scope == 'ip' then window.place = layouts.address.at['w' .. window.seconds] end
    if scope == 'application' then window.place = layouts.application.at['w' .. window.seconds] end
    if window.quota then rules.quota = window end
    if window.place and rules.sharing then
      window.full = layouts[scope == 'ip' and 'address' or 'application'].at['f' .. window.seconds]
      window.part = math.max(1, window.amount / rules.sharing) -- most addresses never meet it
      window.unsummed = math.max(3, math.ceil(3 * window.amount / rules.sharing))
    end
  end
end

-- A bucket with a condition counts where `attempt[condition][key]` is `value` (include_fraud). Rules for home and abroad may share a level
-- or a window: `levels` and `approvals` have each once. A level's `mark` names it in a record, unless its part counts starts.
for _, part in ipairs(rules.parts) do
  local at, known = layouts[part.name].at, {}
  part.life, part.breaker_at, part.levels, part.approvals = rules.lifetimes[part.name], at.b, {}, {}
  for _, rule in ipairs(part.buckets) do
    rule.level, rule.approved = at['l' .. rule.name], at['a' .. rule.window / 1000]
    if rule.breaker then rule.condition, rule.key, rule.value = 'stands', rule.breaker, rule.breaker_state end
    if rule.checked then rule.condition, rule.key, rule.value = 'check', 'passed', rule.checked end
    if rule.new then rule.condition, rule.key, rule.value = 'new', rule.new, true end
    if rule.max_growth then -- hours differ: a short window may bring what six of them usually do
      rule.usual = at[rule.usual_window and 'a' .. rule.usual_window / 1000 or 'lusual']
      rule.growth_of_usual = rule.max_growth * rule.factor * math.max(rule.window, DAY / 4) / (rule.usual_window or DAY)
    end
    rule.always = rule.condition == nil
    rule.mark = part.starts and '' or string.sub(part.name, 1, 1) .. rule.name .. ' '
    rules.has_new = rules.has_new or rule.new ~= nil
    if not known[rule.level] then part.levels[#part.levels + 1] = rule end
    for _, window in ipairs({ rule.window, rule.usual_window }) do
      local place = at['a' .. window / 1000]
      if not known[place] then part.approvals[#part.approvals + 1] = { approved = place, window = window } end
      known[place] = true
    end
    known[rule.level] = true
  end
end

local function of_zone(list, zone)
  local matching = {}
  for _, rule in ipairs(list) do
    if not rule.zone or rule.zone == zone then matching[#matching + 1] = rule end
  end
  return matching
end

rules.parts_of = { start = {}, resend = {}, fallback = {} }
for _, zone in ipairs({ 'home', 'abroad' }) do
  local all, further = {}, {}
  for _, part in ipairs(rules.parts) do
    local applied = { name = part.name, exempts = part.exempts, life = part.life, buckets = of_zone(part.buckets, zone),
      breaker = of_zone(part.breakers, zone)[1], breaker_at = part.breaker_at }
    all[#all + 1] = applied
    if not part.starts then further[#further + 1] = applied end
  end
  rules.parts_of.start[zone], rules.parts_of.resend[zone], rules.parts_of.fallback[zone] = all, further, further
end

local application = layouts.application.at
if rules.failures then
  rules.failures.wrong_at, rules.failures.right_at = application.awrong, application.aright
  rules.failures.alarmed_at = application.ntold
end
for _, ceiling in ipairs(rules.ceilings) do
  ceiling.place, ceiling.moved = application['s' .. ceiling.name], application['m' .. ceiling.name]
end
for _, of_country in pairs(rules.ceilings_of_countries) do
  for _, ceiling in ipairs(of_country) do
    ceiling.place, ceiling.moved = layouts.country.at['s' .. ceiling.name], layouts.country.at['m' .. ceiling.name]
  end
end
rules.has_ceilings = rules.ceilings[1] ~= nil or next(rules.ceilings_of_countries) ~= nil
make_room()
rulesets[arg.name] = rules
return 'OK'
