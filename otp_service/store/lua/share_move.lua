-- Moves an amount to a bucket's share of a ceiling in an interval, or takes it from there.
-- include clock rows limits number subjects rule_hits spending
local kind = arg.country == '' and 'application' or 'country'
local row = rows.unpack(key.subject, redis.call('GET', key.subject), ruleset.layouts[kind])
local moved = spending.move(row, arg.country, arg.ceiling, tonumber(arg.interval), tonumber(arg.amount))
if moved ~= 0 then rows.write(row, ruleset.ttls[kind]) end
return moved
