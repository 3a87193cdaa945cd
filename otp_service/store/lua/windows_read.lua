-- Reads the sliding windows of subjects of a scope.
-- include clock rows limits
local values = {}
for i, text in ipairs(redis.call('MGET', unpack(KEYS, key.rest))) do
  local row = rows.unpack(KEYS[i], text, ruleset.layouts[arg.subject])
  for _, window in ipairs(ruleset.windows[arg.scope]) do
    limits.sliding_wait(window, row, window.amount)
    values[#values + 1] = row[window.place]
    values[#values + 1] = row[window.place + 2]
    values[#values + 1] = window.ttl
  end
end
return values
