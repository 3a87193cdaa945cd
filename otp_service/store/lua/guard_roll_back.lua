-- Rolls back the counts of approved verifications with a record, and counts their approvals, once. States come from records (same tag).
-- include clock fence rows counters limits number subjects targets conversions approvals record
local by_key, count = {}, 0 -- the rows that were read
for i, of_record in ipairs({ unpack(KEYS, key.rest) }) do
  local verification, was_known = record.read(of_record, arg.application), ARGV[arg.rest + i - 1] == '1'
  if verification and verification.guard ~= '' then
    approvals.roll_back(verification, was_known, function(name)
      local key = subjects.key(name, verification)
      if key and not by_key[key] then
        by_key[key] = rows.unpack(key, redis.call('GET', key), ruleset.layouts[name])
        by_key[key].life = ruleset.ttls[name]
      end
      return by_key[key]
    end)
    -- An approved number leaves its block's unapproved numbers in the hour of the start, once (domain/tallies.py).
    if not (was_known or approvals.has(verification, 'a') or approvals.has(verification, 's')) then
      local hour = subjects.tagged(verification.key, 'unapproved:' .. math.floor(verification.created / 3600000))
      redis.call('ZINCRBY', hour, -1, verification.block .. '/' .. verification.country .. '/' .. string.match(verification.guard, '^%a*(%d*)'))
      redis.call('PEXPIRE', hour, 93600000) -- as keys.blocks
    end
    verification.guard = '' -- so it is done
    record.write(verification)
    count = count + 1
  end
end
for _, row in pairs(by_key) do rows.write(row, row.life) end
return count
