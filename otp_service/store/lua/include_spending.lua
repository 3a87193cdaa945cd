-- Money that an application has spent, by calendar intervals (UTC). Amounts are millionths of the currency's unit.
-- Kept for each ceiling, in the row of the application or of its country: number of the interval, and the amount in it.
local spending = {}

-- Returns the ceilings that a message to a country counts in, those of the application and those of the country.
local function ceilings(country)
  local own = ruleset.ceilings_of_countries
  return ruleset.ceilings, own[country] or own['*'] or {}
end

-- Returns the present interval of a ceiling and the amount in it. A clock that was set back a little counts on where it was;
-- one that was far ahead was wrong.
local function spent(row, ceiling)
  local interval, present = row[ceiling.place], math.floor(now / ceiling.interval)
  if interval == present or interval == present + 1 then return interval, row[ceiling.place + 1] end
  return present, 0
end

local function test(list, of, row, price)
  for _, one in ipairs(of) do
    local _, amount = spent(row, one)
    if amount + price > one.amount then rule_hits.add(list, one, one.interval - now % one.interval, amount, one.amount) end
  end
end

-- Notes which ceilings a price would pass; `application` and `country` are the rows.
function spending.test(list, application, country, code, price)
  local all, own = ceilings(code)
  test(list, all, application, price)
  test(list, own, country, price)
end

local function add(of, row, amount, at)
  for _, one in ipairs(of) do
    local interval, before = spent(row, one)
    if at == now or math.floor(at / one.interval) == interval then
      row[one.place], row[one.place + 1] = interval, math.max(0, before + amount)
      row.changed = true
    end
  end
end

-- Adds an amount, which may be negative, to all ceilings whose interval is still the one of `at`.
function spending.add(found, code, amount, at)
  local all, own = ceilings(code)
  add(all, found.application, amount, at)
  add(own, found.country, amount, at)
end

-- Adds an amount to what was spent, of a call that was made or settled, and writes the rows.
function spending.settle(money, code, amount, at)
  spending.add(money, code, amount, at)
  subjects.write(money)
end

-- Notes in a record what is reserved for a dispatch that is to come (price|time), and what its message may cost.
function spending.reserve(record, message, dispatch, price)
  redis.call('HSET', record, 'p' .. message, string.format('%.0f', price),
    'r' .. message .. '.' .. dispatch, string.format('%.0f|%d', price, now))
end

-- Returns what was reserved for a dispatch and when, and takes the note away: once it is settled, to do it again changes
-- nothing. Nil when nothing was.
function spending.release(record, slot)
  local reserved = string.gsub(slot, '^d', 'r')
  local price, at = string.match(redis.call('HGET', record, reserved) or '', '^(%d+)|(%d+)$')
  if not price then return nil end
  redis.call('HDEL', record, reserved)
  return tonumber(price), tonumber(at)
end
