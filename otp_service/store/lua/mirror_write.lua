-- Writes the states of numbers as they are in the ledger, and the mirror's new place.
-- include clock
local builders_at, numbers_at, current = key.rest + arg.heads, key.rest + 2 * arg.heads, {}
if arg.builder ~= '' then
  for i = builders_at, numbers_at - 1 do
    if redis.call('GET', KEYS[i]) ~= arg.builder then return 0 end
  end
else
  for i = key.rest, builders_at - 1 do
    local head = redis.call('HMGET', KEYS[i], 'identity', 'link')
    if head[1] == arg.identity and head[2] == arg.after then current[#current + 1] = KEYS[i] end
  end
  if #current == 0 then return 0 end
end
for i = numbers_at, #KEYS do
  local mirrored, fields = KEYS[i], { 'n', arg.read_at }
  local known = tonumber(redis.call('HGET', mirrored, 'n') or -1)
  if tonumber(arg.read_at) >= known then -- what was read later may have been written first
    local ends = now
    for name, value in pairs(cjson.decode(ARGV[arg.rest + i - numbers_at])) do
      fields[#fields + 1], fields[#fields + 2] = name, value
      local kind = string.sub(name, 1, 2)
      local last = kind == 's:' and tonumber(value) or (kind == 'l:' or kind == 'e:') and now -- a lift or erasure need be known no longer
      ends = ends and last and math.max(ends, last) -- a consent or a freeze has no end, nor need a suppression
    end
    redis.call('DEL', mirrored)
    redis.call('HSET', mirrored, unpack(fields))
    if ends then redis.call('PEXPIREAT', mirrored, ends + tonumber(arg.grace)) end
  end
end
for _, head in ipairs(current) do redis.call('HSET', head, 'sequence', arg.sequence, 'entry', arg.entry, 'link', arg.link) end
return (arg.builder ~= '' or #current == tonumber(arg.heads)) and 1 or 0
