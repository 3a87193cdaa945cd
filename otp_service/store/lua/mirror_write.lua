-- Writes the states of numbers as they are in the ledger, and how far the mirror has come by that.
--
-- KEYS[1] the mirror's head   KEYS[2] who builds it   KEYS[3] and following: the numbers
-- ARGV[1] who builds the mirror; empty where it is built
-- ARGV[2] identity of the ledger, ARGV[3] link of the place after which the changes come: no other place has it
-- ARGV[4] number, ARGV[5] entry and ARGV[6] link of the place that they lead to
-- ARGV[7] number of the ledger's last change when the states were read
-- ARGV[8] milliseconds to remember a number of which nothing holds, or longer than the last of what holds does
-- ARGV[9] and following, for each number: its fields, as JSON
-- Returns: 1; or 0, and writes nothing, when the mirror is at another place, or the turn to build it is another one's
-- include clock

local head = redis.call('HMGET', KEYS[1], 'identity', 'link')
if ARGV[1] ~= '' then
  if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
elseif head[1] ~= ARGV[2] or head[2] ~= ARGV[3] then
  return 0
end
for i = 1, #KEYS - 2 do
  local mirrored, fields = KEYS[2 + i], { 'n', ARGV[7] }
  local known = tonumber(redis.call('HGET', mirrored, 'n') or -1)
  if tonumber(ARGV[7]) >= known then -- what was read later may have been written first
    local ends = now
    for name, value in pairs(cjson.decode(ARGV[8 + i])) do
      fields[#fields + 1], fields[#fields + 2] = name, value
      local kind = string.sub(name, 1, 2)
      local last = kind == 's:' and tonumber(value) or kind == 'l:' and now -- a lift need be known no longer
      ends = ends and last and math.max(ends, last) -- a consent or a freeze has no end, nor need a suppression
    end
    redis.call('DEL', mirrored)
    redis.call('HSET', mirrored, unpack(fields))
    if ends then redis.call('PEXPIREAT', mirrored, ends + tonumber(ARGV[8])) end
  end
end
if ARGV[1] == '' then redis.call('HSET', KEYS[1], 'sequence', ARGV[4], 'entry', ARGV[5], 'link', ARGV[6]) end
return 1
