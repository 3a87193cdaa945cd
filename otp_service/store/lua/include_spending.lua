-- Money that an application has spent, by calendar intervals (UTC). Amounts are millionths of the currency's unit.
-- Kept for each ceiling: number of the interval, and the amount in it.
local spending = {}

-- Returns the ceilings that a message to a country counts in.
function spending.ceilings(country)
  local own = ruleset.ceilings_of_countries
  local list = {}
  for _, one in ipairs(ruleset.ceilings) do list[#list + 1] = one end
  for _, one in ipairs(own[country] or own['*'] or {}) do list[#list + 1] = one end
  return list
end

-- Returns the present interval of a ceiling and the amount in it. A clock that was set back a little counts on where it was;
-- one that was far ahead was wrong.
local function spent(kept, ceiling)
  local interval, amount = unpack(kept[ceiling.name] or { 0, 0 })
  local present = math.floor(now / ceiling.interval)
  if interval == present or interval == present + 1 then return interval, amount end
  return present, 0
end

-- Notes which ceilings a price would pass.
function spending.test(list, kept, country, price)
  for _, one in ipairs(spending.ceilings(country)) do
    local _, amount = spent(kept[one.part] or {}, one)
    local ends = (math.floor(now / one.interval) + 1) * one.interval
    rule_hits.add(list, one, amount + price > one.amount and ends - now or 0, amount, one.amount)
  end
end

-- Adds an amount, which may be negative, to all ceilings whose interval is still the one of `at`, and writes them.
function spending.add(keys, kept, country, amount, at)
  local changed = {}
  for _, one in ipairs(spending.ceilings(country)) do
    local interval, before = spent(kept[one.part] or {}, one)
    if kept[one.part] and (at == now or math.floor(at / one.interval) == interval) then
      kept[one.part][one.name] = { interval, math.max(0, before + amount) }
      changed[one.part] = true
    end
  end
  for part in pairs(changed) do states.write(keys[part], kept[part], ruleset.lifetimes[part]) end
end

-- Notes in a record what is reserved for a dispatch that is to come (price|time), and what its message may cost.
function spending.reserve(record, message, dispatch, price)
  redis.call('HSET', record, 'p' .. message, string.format('%.0f', price),
    'r' .. message .. '.' .. dispatch, string.format('%.0f|%d', price, now))
end

-- Settles what was reserved for a dispatch by what it cost; KEYS has what was spent from a place on. Once it is settled, to
-- do it again changes nothing.
function spending.settle(record, slot, place, country, cost)
  local reserved = string.gsub(slot, '^d', 'r')
  local price, at = string.match(redis.call('HGET', record, reserved) or '', '^(%d+)|(%d+)$')
  if not price then return end
  redis.call('HDEL', record, reserved)
  local key_of, kept = states.read(KEYS, place)
  spending.add(key_of, kept, country, tonumber(cost) - tonumber(price), tonumber(at))
end
