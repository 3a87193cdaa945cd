-- Gives back what verifications were counted for that were approved, and counts their approvals: once for each, however often it is
-- asked.
--
-- KEYS[1] and following: their records, of one application
-- ARGV[1] application   ARGV[2] and following: for each 1 when its number was known before, otherwise 0
-- Derives: what is kept of their blocks and countries, and of end users' addresses, from the records; who did not approve by block (same
-- hash tag)
-- Returns: how many were given back. A record that is gone gives nothing back
-- include clock fence rows counters limits number subjects targets conversions approvals record

local BLOCKS_LIFE = 93600000 -- as who adds to it (keys.blocks)

-- Takes a newcomer that approved off those of the block that did not, in the hour of the start: of a number once (domain/tallies.py).
local function take_off_block(one)
  if approvals.has(one, 'a') or approvals.has(one, 's') then return end
  local key = subjects.tagged(one.key, 'unapproved:' .. math.floor(one.created / 3600000))
  redis.call('ZINCRBY', key, -1, one.block .. '/' .. one.country .. '/' .. string.match(one.guard, '^%a*(%d*)'))
  redis.call('PEXPIRE', key, BLOCKS_LIFE)
end

local by_key, count = {}, 0 -- the rows that were read

local function read(name, about)
  local key = subjects.key(name, about)
  if key and not by_key[key] then
    by_key[key] = rows.unpack(key, redis.call('GET', key), ruleset.layouts[name])
    by_key[key].life = ruleset.ttls[name]
  end
  return by_key[key]
end

for i, key in ipairs({ unpack(KEYS, 1) }) do
  local found = record.read(key, ARGV[1])
  if found and found.guard ~= '' then
    approvals.give_back(found, ARGV[1 + i] == '1', function(name) return read(name, found) end)
    if ARGV[1 + i] == '0' then take_off_block(found) end
    found.guard = '' -- so it is done
    record.write(found)
    count = count + 1
  end
end
for _, row in pairs(by_key) do rows.write(row, row.life) end
return count
