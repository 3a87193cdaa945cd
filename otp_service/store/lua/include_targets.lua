-- The numbers and countries that an address requested codes for. The tail of its row: the time until which they count, countries with a
-- comma after each, a line feed, and beginnings of the numbers' pseudonyms.
local targets = {}
local MAX_NUMBERS, LENGTH = 1000, 12 -- numbers that are kept; characters of each

local function parse(tail)
  if #tail < 7 then return 0, '', '' end
  local ends, place = struct.unpack('<I6', tail)
  local feed = string.find(tail, '\n', place, true)
  return ends, string.sub(tail, place, feed - 1), string.sub(tail, feed + 1)
end

local function has(text, word) return string.find(text, word, 1, true) ~= nil end

function targets.are_new(address, pseudonym, country)
  local ends, countries, numbers = parse(address.tail)
  if now > ends or address[rows.ENDS] == 0 then return { number = true, country = true } end
  return { number = not has(numbers, string.sub(pseudonym, 1, LENGTH)), country = not has(countries, country .. ',') }
end

function targets.add(address, pseudonym, country)
  local ends, countries, numbers = parse(address.tail)
  local short = string.sub(pseudonym, 1, LENGTH)
  if now > ends or #countries + #numbers == 0 then
    ends, countries, numbers = now + ruleset.lifetimes.asked, '', ''
  end
  if not has(countries, country .. ',') then countries = countries .. country .. ',' end
  if not has(numbers, short) then numbers = string.sub(short .. numbers, 1, LENGTH * MAX_NUMBERS) end
  address.tail, address.changed = struct.pack('<I6', ends) .. countries .. '\n' .. numbers, true
end

function targets.forget(address, pseudonym, country)
  local ends, countries, numbers = parse(address.tail)
  if pseudonym then
    local at = string.find(numbers, string.sub(pseudonym, 1, LENGTH), 1, true)
    if at then numbers = string.sub(numbers, 1, at - 1) .. string.sub(numbers, at + LENGTH) end
  end
  if country then countries = string.gsub(countries, country .. ',', '') end
  address.tail = struct.pack('<I6', ends) .. countries .. '\n' .. numbers
end
