-- Writes the states of numbers as they are in the ledger, and how far the mirror has come by that.
--
-- KEYS[1] the mirror's head   KEYS[2] who builds it   KEYS[3] and following: the numbers
-- ARGV[1] identity of the ledger   ARGV[2] place in the ledger at which the states were read
-- ARGV[3] place after which the changes are that led to them   ARGV[4] place of the last of these changes
-- ARGV[5] milliseconds to remember a number of which nothing holds, or longer than the last of what holds does
-- ARGV[6] and following, for each number: its fields, as JSON
-- Returns: the place that the mirror has come to; -1 when it is another ledger's, or not built: then nothing is written,
-- unless it is being built of this ledger
-- include clock

local head = redis.call('HMGET', KEYS[1], 'identity', 'sequence')
local ledger = head[1] or string.match(redis.call('GET', KEYS[2]) or '', '^(%a+)/')
if ledger ~= ARGV[1] then return -1 end
for i = 1, #KEYS - 2 do
  local number, fields = KEYS[2 + i], { 'n', ARGV[2] }
  local known = tonumber(redis.call('HGET', number, 'n') or -1)
  if tonumber(ARGV[2]) >= known then -- what was read later may have been written first
    local ends = now
    for name, value in pairs(cjson.decode(ARGV[5 + i])) do
      fields[#fields + 1], fields[#fields + 2] = name, value
      local kind = string.sub(name, 1, 2)
      local last = kind == 's:' and tonumber(value) or kind == 'l:' and now -- a lift need be known no longer
      ends = ends and last and math.max(ends, last) -- a consent or a freeze has no end, nor need a suppression
    end
    redis.call('DEL', number)
    redis.call('HSET', number, unpack(fields))
    if ends then redis.call('PEXPIREAT', number, ends + tonumber(ARGV[5])) end
  end
end
if not head[1] then return -1 end
local place = tonumber(head[2])
if place >= tonumber(ARGV[3]) and place < tonumber(ARGV[4]) then -- no change between is missing
  place = tonumber(ARGV[4])
  redis.call('HSET', KEYS[1], 'sequence', ARGV[4])
end
return place
