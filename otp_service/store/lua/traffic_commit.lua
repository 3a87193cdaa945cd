-- Keeps what was learnt of an application's traffic, and tells the rows of its countries what newcomers meet there.
--
-- KEYS[1] what is learnt   KEYS[2] the tallies   KEYS[3] and following: countries
-- ARGV[1] version of what is learnt that was read: when another process has changed it meanwhile, nothing is done
-- ARGV[2] life of what is learnt in milliseconds   ARGV[3] how long a suspicion stands that nobody renews
-- ARGV[4] JSON: `judged`, the tallies that were counted; `suspicions`, for each country: `ask`, `checked_too` (whether who passed
-- a check gets the trickle as well), `trickle` (messages an hour), `usual` (approvals a day), `ranges` (a list of ranges, each with
-- its `name`, `ask` and `checked_too`)
-- ARGV[5] and following: names in what is learnt, and values
-- Returns: 1 when it was kept, else 0
-- include clock rows

if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then return 0 end
redis.call('HINCRBY', KEYS[1], 'version', 1)
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end -- there may be more than unpack can take
redis.call('PEXPIRE', KEYS[1], ARGV[2])

local told, ends = cjson.decode(ARGV[4]), now + tonumber(ARGV[3])
for field, count in pairs(told.judged) do
  if redis.call('HINCRBY', KEYS[2], field, -count) == 0 then redis.call('HDEL', KEYS[2], field) end
end

for i, suspicion in ipairs(told.suspicions) do
  local row = rows.unpack(KEYS[2 + i], redis.call('GET', KEYS[2 + i]), ruleset.layouts.country)
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
return 1
