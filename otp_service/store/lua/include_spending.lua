-- Money that an application has spent, by calendar intervals (UTC), in millionths of the currency's unit.
-- A ceiling is two values of the application's or country's row, interval and amount; where buckets share it, two more of the moved amount.
local spending = {}

local function ceilings(country)
  local own = ruleset.ceilings_of_countries
  return ruleset.ceilings, own[country] or own['*'] or {}
end

-- Returns the interval of a ceiling and the amount in it. A clock that was set back a little counts on; one far ahead was wrong.
local function spent(row, ceiling)
  local interval, present = row[ceiling.place], math.floor(now / ceiling.interval)
  if interval == present or interval == present + 1 then return interval, row[ceiling.place + 1] end
  return present, 0
end

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

-- Adds a hit for each ceiling that a price would pass; `application` and `country` are rows.
function spending.test(list, application, country, code, price)
  local all, own = ceilings(code)
  test(list, all, application, price)
  test(list, own, country, price)
end

-- Tells whether a larger share would let a message pass: only ceilings that buckets share refuse it.
function spending.may_move(list)
  if not list.is_short then return false end
  for _, ceiling in ipairs(list) do
    if not ceiling.records and string.sub(ceiling.rule, 1, 6) ~= 'spend.' then return false end
  end
  return true
end

-- Moves an amount to this bucket's share of a ceiling, a negative one as far as it is unspent. Returns it, 0 in another interval.
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

-- Adds an amount, which may be negative, to all ceilings whose interval is still that of `at`.
function spending.add(states, code, amount, at)
  local all, own = ceilings(code)
  add(all, states.application, amount, at)
  add(own, states.country, amount, at)
end

function spending.settle(money, code, amount, at)
  spending.add(money, code, amount, at)
  subjects.write(money)
end

-- Notes in a record what is reserved for a dispatch (price|time), and what its message may cost.
function spending.reserve(record, message, dispatch, price)
  redis.call('HSET', record, 'p' .. message, string.format('%.0f', price),
    'r' .. message .. '.' .. dispatch, string.format('%.0f|%d', price, now))
end

-- Returns what was reserved for a dispatch and when, and deletes the note, so that it is settled once; nil for none.
function spending.release(record, slot)
  local reserved = string.gsub(slot, '^d', 'r')
  local price, at = string.match(redis.call('HGET', record, reserved) or '', '^(%d+)|(%d+)$')
  if not price then return nil end
  redis.call('HDEL', record, reserved)
  return tonumber(price), tonumber(at)
end
