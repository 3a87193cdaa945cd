-- What an approval changes for the guard: the sends of the verification were asked for by a person, and count no more. A check
-- does not see to that itself: a worker that brings its event into the ledger does, a moment later.
--
-- A record remembers how its messages were counted. `guard` has flags of the first one, a dot, and the marks of the buckets of its
-- block and country that each was counted in (see ruleset_register): `hn.bu3600 bu172800 cu86400 `. Of an address the flags tell.
-- It has the pseudonyms `context`, `block`, `network` (an address), `wide` (its /48) and `provider` (its /32).
-- Flags: h at home, s safe, a from an approved number, f from a known device, n and c number and country that were new to its
-- address; the carrier range follows them.
local approvals = {}
local EXEMPT, NEW = { approved = 'a', known_device = 'f' }, { number = 'n', country = 'c' } -- flags

-- Returns what a record remembers of a start that was counted, an attempt whose last part is its carrier range (domain/guard.py).
function approvals.note(sending, attempt)
  local reputation, new = sending.reputation, sending.new
  return (sending.place == 'home' and 'h' or '') .. (sending.safe and 's' or '') .. (reputation.approved and 'a' or '')
    .. (reputation.known_device and 'f' or '') .. (new.number and 'n' or '') .. (new.country and 'c' or '')
    .. string.match(attempt, '%d*$') .. '.'
    .. sending.counted
end

-- Returns whether a record remembers a flag.
function approvals.has(record, flag)
  return string.find(record.guard, '^%a*' .. flag) ~= nil
end

-- Gives back to a part what a verification was counted for, and counts its approval where it makes room.
local function give_back(part, row, record, makes_room)
  for _, level in ipairs(part.levels) do
    local times
    if part.starts then
      times = (not level.new or approvals.has(record, NEW[level.new])) and 1 or 0
    else
      _, times = string.gsub(record.guard, level.mark, '')
    end
    row[level.level] = math.max(0, row[level.level] - times)
  end
  if makes_room then
    for _, one in ipairs(part.approvals) do counters.add(row, one.approved, one.window) end
  end
  if part.breakers[1] then
    conversions.advance(row, part.breaker_at)
    conversions.approve(row, part.breaker_at, record.created)
  end
  if row[rows.TIME] == 0 then row[rows.TIME] = now end
  row[rows.ENDS] = now + part.life
end

-- Gives back what a verification was counted for, and counts its approval: of one number once, while it is known, however
-- many verifications of it were under way. `known` tells whether it was before this approval. `by_key` are the rows that were
-- read; more may come to them, and all are to be written, each for its `life`.
function approvals.give_back(record, known, by_key)
  local function read(name)
    local key = subjects.key(name, record)
    if key and not by_key[key] then
      by_key[key] = rows.unpack(key, redis.call('GET', key), ruleset.layouts[name])
      by_key[key].life = ruleset.ttls[name]
    end
    return by_key[key]
  end
  if approvals.has(record, 's') then return end
  for _, part in ipairs(ruleset.parts) do
    local row = not approvals.has(record, EXEMPT[part.exempts]) and read(part.name)
    if row then give_back(part, row, record, part.exempts ~= 'approved' or not known) end
  end
  local new_number, new_country = approvals.has(record, 'n'), approvals.has(record, 'c')
  if new_number or new_country then
    asked.forget(read('address'), new_number and record.pseudonym, new_country and record.country)
  end
end
