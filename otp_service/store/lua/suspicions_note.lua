-- Notes the suspicions of unknown numbers in the rows of an application's countries in a bucket.
-- include clock rows
local ends = now + arg.life
for i, suspicion in ipairs(cjson.decode(arg.suspicions)) do
  local country = KEYS[key.rest + i - 1]
  local row = rows.unpack(country, redis.call('GET', country), ruleset.layouts.country)
  local at, ranges = row.layout.at, {}
  row[at.tsuspicion], row[at.ntrickle] = suspicion.ask and ends or 0, suspicion.trickle
  row[at.nchecked], row[at.lusual] = suspicion.checked_too and 1 or 0, suspicion.usual
  row[rows.ENDS] = math.max(row[rows.ENDS], now + ruleset.ttls.country)
  for place, range in ipairs(suspicion.ranges) do
    ranges[place] = string.format('%s %d %d\n', range.name, range.ask and ends or 0, range.checked_too and 1 or 0)
  end
  row.tail = table.concat(ranges)
  rows.write(row, ruleset.ttls.country)
end
return 'OK'
