-- Gives back what approved verifications were counted for, and counts their approvals, once each. The states come from the records (same
-- hash tag). A record that is gone gives nothing back.
-- include clock fence rows counters limits number subjects targets conversions approvals record
local BLOCKS_LIFE = 93600000 -- as who adds to it (keys.blocks)

-- Takes an approved number off its block's unapproved ones in the hour of the start, once (domain/tallies.py).
local function take_off_block(verification)
  if approvals.has(verification, 'a') or approvals.has(verification, 's') then return end
  local key = subjects.tagged(verification.key, 'unapproved:' .. math.floor(verification.created / 3600000))
  redis.call('ZINCRBY', key, -1, verification.block .. '/' .. verification.country .. '/' .. string.match(verification.guard, '^%a*(%d*)'))
  redis.call('PEXPIRE', key, BLOCKS_LIFE)
end

local by_key, count = {}, 0 -- the rows that were read

local function read(name, verification)
  local key = subjects.key(name, verification)
  if key and not by_key[key] then
    by_key[key] = rows.unpack(key, redis.call('GET', key), ruleset.layouts[name])
    by_key[key].life = ruleset.ttls[name]
  end
  return by_key[key]
end

for i, of_record in ipairs({ unpack(KEYS, key.rest) }) do
  local verification, was_known = record.read(of_record, arg.application), ARGV[arg.rest + i - 1] == '1'
  if verification and verification.guard ~= '' then
    approvals.roll_back(verification, was_known, function(name) return read(name, verification) end)
    if not was_known then take_off_block(verification) end
    verification.guard = '' -- so it is done
    record.write(verification)
    count = count + 1
  end
end
for _, row in pairs(by_key) do rows.write(row, row.life) end
return count
