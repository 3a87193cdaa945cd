-- Writes the states of numbers as they are in the ledger, and how far the mirror has come by that.
--
-- KEYS: the mirror's heads; as many keys of its builders; then the numbers
-- ARGV[1] the builder; empty where the mirror is built   ARGV[2] number of heads
-- ARGV[3] identity of the ledger, ARGV[4] link of the place after which the changes come: no other place has it
-- ARGV[5] number, ARGV[6] entry and ARGV[7] link of the place that they lead to
-- ARGV[8] number of the ledger's last change when the states were read
-- ARGV[9] milliseconds to remember a number of which nothing holds, or longer than the last of what holds does
-- ARGV[10] and following, for each number: its fields, as JSON
-- Returns: 1; 0 where some heads are not at that place; 0, and writes nothing, where none is, or another process builds the mirror
-- include clock

local heads, there = tonumber(ARGV[2]), {}
for i = 1, heads do
  if ARGV[1] ~= '' then
    if redis.call('GET', KEYS[heads + i]) ~= ARGV[1] then return 0 end
  else
    local head = redis.call('HMGET', KEYS[i], 'identity', 'link')
    if head[1] == ARGV[3] and head[2] == ARGV[4] then there[#there + 1] = KEYS[i] end
  end
end
if ARGV[1] == '' and #there == 0 then return 0 end
for i = 1, #KEYS - 2 * heads do
  local mirrored, fields = KEYS[2 * heads + i], { 'n', ARGV[8] }
  local known = tonumber(redis.call('HGET', mirrored, 'n') or -1)
  if tonumber(ARGV[8]) >= known then -- what was read later may have been written first
    local ends = now
    for name, value in pairs(cjson.decode(ARGV[9 + i])) do
      fields[#fields + 1], fields[#fields + 2] = name, value
      local kind = string.sub(name, 1, 2)
      local last = kind == 's:' and tonumber(value) or (kind == 'l:' or kind == 'e:') and now -- a lift or erasure need be known no longer
      ends = ends and last and math.max(ends, last) -- a consent or a freeze has no end, nor need a suppression
    end
    redis.call('DEL', mirrored)
    redis.call('HSET', mirrored, unpack(fields))
    if ends then redis.call('PEXPIREAT', mirrored, ends + tonumber(ARGV[9])) end
  end
end
for _, head in ipairs(there) do redis.call('HSET', head, 'sequence', ARGV[5], 'entry', ARGV[6], 'link', ARGV[7]) end
return (ARGV[1] ~= '' or #there == heads) and 1 or 0
