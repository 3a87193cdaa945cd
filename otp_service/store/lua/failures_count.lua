-- Counts compared codes of an application, where its slot is not that of their numbers.
--
-- KEYS[1] the application   ARGV[1] what the codes were, in their order: a letter each, r right or w wrong
-- Returns one of: {'counted'} {'alarm', until when more fail than may, what tells of it} (once in an interval)
-- include clock rows counters failure_alarm

if not ruleset.failures then return { 'counted' } end
local row = rows.unpack(KEYS[1], redis.call('GET', KEYS[1]), ruleset.layouts.application)
local ends, text
for letter in string.gmatch(ARGV[1], '%a') do
  local until_when, found = failure_alarm.count(row, letter == 'r')
  if until_when then ends, text = until_when, found end
end
rows.write(row, ruleset.ttls.application)
if ends then return { 'alarm', ends, text } end
return { 'counted' }
