-- Gives back to one subject what approved verifications were counted for, and counts their approvals, as approvals_take told them.
--
-- KEYS[1] the subject   ARGV[1] its name: country, block, address, network or provider
-- ARGV[2] and following, for each verification: what was counted, the number's pseudonym, country, when it was started, and 1 when its
-- number was known before, otherwise 0
-- Returns: OK
-- include clock rows counters targets conversions approvals

local row = rows.unpack(KEYS[1], redis.call('GET', KEYS[1]), ruleset.layouts[ARGV[1]])
local counted = false
local function read(name)
  if name ~= ARGV[1] then return nil end
  counted = true
  return row
end

local told = { unpack(ARGV, 2) }
for i = 1, #told, 5 do
  local about = { guard = told[i], pseudonym = told[i + 1], country = told[i + 2], created = tonumber(told[i + 3]) }
  approvals.give_back(about, told[i + 4] == '1', read)
end
if counted then rows.write(row, ruleset.ttls[ARGV[1]]) end
return 'OK'
