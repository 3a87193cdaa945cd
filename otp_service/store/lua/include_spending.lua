-- Money that an application has spent, by calendar intervals (UTC). Amounts are millionths of the currency's unit.
-- Kept for each ceiling, in the row of the application or of its country: number of the interval, and the amount in it; where
-- buckets share a ceiling, the same of what was moved to this one, which is negative where more was taken.
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

-- Returns what a ceiling allows this bucket in an interval.
local function share(row, ceiling, interval)
  local place = ceiling.moved
  return place and row[place] == interval and ceiling.amount + row[place + 1] or ceiling.amount
end

local function test(list, of, row, price)
  for _, ceiling in ipairs(of) do
    local interval, amount = spent(row, ceiling)
    local max_amount = share(row, ceiling, interval)
    if amount + price > max_amount then
      list.is_short = list.is_short or ceiling.moved ~= nil
      rule_hits.add(list, ceiling, ceiling.interval - now % ceiling.interval, amount, max_amount)
    end
  end
end

-- Notes which ceilings a price would pass; `application` and `country` are the rows.
function spending.test(list, application, country, code, price)
  local all, own = ceilings(code)
  test(list, all, application, price)
  test(list, own, country, price)
end

-- Tells whether a message may pass with a larger share: only ceilings that buckets share refuse it.
function spending.may_move(list)
  if not list.is_short then return false end
  for _, ceiling in ipairs(list) do
    if not ceiling.records and string.sub(ceiling.rule, 1, 6) ~= 'spend.' then return false end
  end
  return true
end

-- Moves an amount to what a ceiling allows this bucket in an interval; a negative one is taken, no more of it than is not spent.
-- Returns what was moved: nothing where the interval is another by this server's clock.
function spending.move(row, country, name, interval, amount)
  local all, own = ceilings(country)
  for _, ceiling in ipairs(country == '' and all or own) do
    local present, used = spent(row, ceiling)
    if ceiling.name == name and ceiling.moved and present == interval then
      local max_amount = share(row, ceiling, present)
      amount = math.max(amount, math.min(0, used - max_amount))
      row[ceiling.moved], row[ceiling.moved + 1] = present, max_amount - ceiling.amount + amount
      return amount
    end
  end
  return 0
end

local function add(of, row, amount, at)
  for _, ceiling in ipairs(of) do
    local interval, before = spent(row, ceiling)
    if at == now or math.floor(at / ceiling.interval) == interval then
      row[ceiling.place], row[ceiling.place + 1] = interval, math.max(0, before + amount)
      row.changed = true
    end
  end
end

-- Adds an amount, which may be negative, to all ceilings whose interval is still the one of `at`.
function spending.add(states, code, amount, at)
  local all, own = ceilings(code)
  add(all, states.application, amount, at)
  add(own, states.country, amount, at)
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
