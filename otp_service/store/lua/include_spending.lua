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
local function spent(values, place, ceiling)
  local interval, present = values[place], math.floor(now / ceiling.interval)
  if interval == present or interval == present + 1 then return interval, values[place + 1] end
  return present, 0
end

local function test(list, of, subject, price)
  for _, one in ipairs(of) do
    local _, amount = spent(subject.values, one.place, one)
    local ends = (math.floor(now / one.interval) + 1) * one.interval
    rule_hits.add(list, one, amount + price > one.amount and ends - now or 0, amount, one.amount)
  end
end

-- Notes which ceilings a price would pass; `application` and `country` are the subjects.
function spending.test(list, application, country, code, price)
  local all, own = ceilings(code)
  test(list, all, application, price)
  test(list, own, country, price)
end

local function add(of, subject, amount, at)
  local changed = false
  for _, one in ipairs(of) do
    local place = one.place
    local interval, before = spent(subject.values, place, one)
    if at == now or math.floor(at / one.interval) == interval then
      subject.values[place], subject.values[place + 1] = interval, math.max(0, before + amount)
      changed = true
    end
  end
  return changed
end

-- Adds an amount, which may be negative, to all ceilings whose interval is still the one of `at`. Returns whether the
-- application's row changed, and its country's.
function spending.add(application, country, code, amount, at)
  local all, own = ceilings(code)
  return add(all, application, amount, at), add(own, country, amount, at)
end

-- Adds an amount to what was spent, of a call that was made or settled, and writes the rows.
function spending.settle(money, code, amount, at)
  local all, own = spending.add(money.application, money.country, code, amount, at)
  if all then subjects.write(money, 'application') end
  if own then subjects.write(money, 'country') end
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
