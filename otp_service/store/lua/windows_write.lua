-- Writes sums of sliding windows over all buckets: of full windows, those with a sum due, and the quota.
-- include clock rows
local place = arg.rest
for i, text in ipairs(redis.call('MGET', unpack(KEYS, key.rest))) do
  local row, life = rows.unpack(KEYS[i], text, ruleset.layouts[arg.subject]), 0
  for _, window in ipairs(ruleset.windows[arg.scope]) do
    local f, sum, full_for = window.full, tonumber(ARGV[place]), tonumber(ARGV[place + 1])
    if full_for > 0 or row[f + 3] > 0 or window.quota then
      row[f], row[f + 1], row[f + 2], row[f + 3], life = math.max(row[f], now + full_for), sum, now, 0, math.max(life, full_for, 1)
    end
    place = place + 2
  end
  if life > 0 then rows.write(row, math.max(life, redis.call('PTTL', row.key))) end
end
return 'OK'
