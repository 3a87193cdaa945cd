-- Learns an application's rules: computes once where their counts are in the rows of subjects. They are kept until the server
-- restarts.
--
-- ARGV[1] their name, a digest   ARGV[2] the rules as JSON
-- Returns: OK
-- include clock rows

local rules = cjson.decode(ARGV[2])
local layouts = rules.layouts
for subject, names in pairs(layouts) do layouts[subject] = rows.layout(names) end
for _, part in ipairs(rules.parts) do
  local at = layouts[part.name].at
  part.breaker = at.b
  for _, rule in ipairs(part.buckets) do
    rule.level, rule.approved = at['l' .. rule.name], at['a' .. rule.window / 1000]
    rules.has_new = rules.has_new or rule.new ~= nil
  end
end
for _, window in ipairs(rules.windows) do
  window.place = layouts[window.scope == 'ip' and 'address' or 'application'].at['w' .. window.seconds]
end
local application = layouts.application.at
if rules.failures then
  rules.failures.wrong_at, rules.failures.right_at = application.awrong, application.aright
  rules.failures.told_at = application.ntold
end
for _, ceiling in ipairs(rules.ceilings) do ceiling.place = application['s' .. ceiling.name] end
for _, of_country in pairs(rules.ceilings_of_countries) do
  for _, ceiling in ipairs(of_country) do ceiling.place = layouts.country.at['s' .. ceiling.name] end
end
rulesets[ARGV[1]] = rules
return 'OK'
