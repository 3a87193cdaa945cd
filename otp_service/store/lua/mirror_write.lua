-- Writes the states of numbers as they are in the ledger, and how far the mirror has come by that.
--
-- KEYS: the mirror's heads, first those that are read; as many keys of who builds it; then the numbers
-- ARGV[1] who builds the mirror; empty where it is built
-- ARGV[2] how many heads there are   ARGV[3] how many of them are read; the others follow those that are where they are
-- ARGV[4] identity of the ledger, ARGV[5] link of the place after which the changes come: no other place has it
-- ARGV[6] number, ARGV[7] entry and ARGV[8] link of the place that they lead to
-- ARGV[9] number of the ledger's last change when the states were read
-- ARGV[10] milliseconds to remember a number of which nothing holds, or longer than the last of what holds does
-- ARGV[11] and following, for each number: its fields, as JSON
-- Returns: 1; or 0, and writes nothing, when no head is there, or the turn to build it is another one's; 0 also when some are not
-- include clock

local heads, there, read = tonumber(ARGV[2]), {}, 0
for i = 1, heads do
  if ARGV[1] ~= '' then
    if redis.call('GET', KEYS[heads + i]) ~= ARGV[1] then return 0 end
  else
    local head = redis.call('HMGET', KEYS[i], 'identity', 'link')
    if head[1] == ARGV[4] and head[2] == ARGV[5] then
      there[#there + 1] = KEYS[i]
      if i <= tonumber(ARGV[3]) then read = read + 1 end
    end
  end
end
if ARGV[1] == '' and read == 0 then return 0 end
for i = 1, #KEYS - 2 * heads do
  local mirrored, fields = KEYS[2 * heads + i], { 'n', ARGV[9] }
  local known = tonumber(redis.call('HGET', mirrored, 'n') or -1)
  if tonumber(ARGV[9]) >= known then -- what was read later may have been written first
    local ends = now
    for name, value in pairs(cjson.decode(ARGV[10 + i])) do
      fields[#fields + 1], fields[#fields + 2] = name, value
      local kind = string.sub(name, 1, 2)
      local last = kind == 's:' and tonumber(value) or (kind == 'l:' or kind == 'e:') and now -- a lift or erasure need be known no longer
      ends = ends and last and math.max(ends, last) -- a consent or a freeze has no end, nor need a suppression
    end
    redis.call('DEL', mirrored)
    redis.call('HSET', mirrored, unpack(fields))
    if ends then redis.call('PEXPIREAT', mirrored, ends + tonumber(ARGV[10])) end
  end
end
for _, head in ipairs(there) do redis.call('HSET', head, 'sequence', ARGV[6], 'entry', ARGV[7], 'link', ARGV[8]) end
return (ARGV[1] ~= '' or read == tonumber(ARGV[3])) and 1 or 0
