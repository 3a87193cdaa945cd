-- What an approval changes for the guard: the sends of the verification were asked for by a person, and count no more. A check
-- does not see to that itself: a worker that brings its event into the ledger does, a moment later.
--
-- A record remembers how its messages were counted. `guard` has flags of the first one, a dot, and the marks of the buckets of its
-- block and country that each was counted in (see ruleset_register): `hn.bu3600 bu172800 cu86400 `. Of an address the flags tell.
-- It has the pseudonyms `context`, `block`, `ip_prefix` (an address), `prefix_48` and `prefix_32`.
-- Flags: h at home, s safe, a from an approved number, f from a known device, n and c number and country that were new to its
-- address, q passed a human check, k and did so under suspicion, r as others of his address just before; the carrier range follows.
local approvals = {}

-- Returns what a record remembers of a start that was counted.
function approvals.note(attempt)
  local reputation, new = attempt.reputation, attempt.new
  return (attempt.zone == 'home' and 'h' or '') .. (attempt.allowlisted and 's' or '') .. (reputation.approved and 'a' or '')
    .. (reputation.known_device and 'f' or '') .. (new.number and 'n' or '') .. (new.country and 'c' or '')
    .. (attempt.passed and 'q' or '') .. (attempt.passed_under_suspicion and 'k' or '') .. (attempt.repeated and 'r' or '') .. attempt.range .. '.'
    .. attempt.counted
end

-- Returns whether a record remembers a flag.
function approvals.has(record, flag)
  return string.find(record.guard, '^%a*' .. flag) ~= nil
end

-- Gives back to a row what a verification was counted for in a part, and counts its approval where it makes room. `new` tells what was
-- new to its address.
local function roll_back(part, row, record, new, makes_room)
  for i = 1, #part.levels do
    local rule, _, times = part.levels[i], nil, nil
    local place = rule.level
    if part.starts then
      times = (not rule.new or new[rule.new]) and 1 or 0
    else
      _, times = string.gsub(record.guard, rule.mark, '')
    end
    if row[place] > 0 then row[place] = math.max(0, row[place] - times) end
  end
  for i = 1, makes_room and #part.approvals or 0 do
    counters.add(row, part.approvals[i].approved, part.approvals[i].window)
  end
  if part.breakers[1] and not approvals.has(record, 'a') then
    conversions.advance(row, part.breaker_at)
    conversions.approve(row, part.breaker_at, record.created)
  end
  if row[rows.TIME] == 0 then row[rows.TIME] = now end
  row[rows.ENDS] = now + part.life
end

-- Gives back what a verification was counted for, and counts its approval: of one number once, while it is known, however
-- many verifications of it were under way. `known` tells whether it was before this approval. `read` returns the row of a subject by its
-- name, nil where there is none or it is not here; what was read is to be written.
function approvals.roll_back(record, known, read)
  if approvals.has(record, 's') then return end
  local no_mark = string.sub(record.guard, -1) == '.' -- a known number may become a stranger by further messages
  local exempt = { approved = no_mark and approvals.has(record, 'a'), known_device = approvals.has(record, 'f') or approvals.has(record, 'q') }
  local new = { number = approvals.has(record, 'n'), country = approvals.has(record, 'c') }
  for _, part in ipairs(ruleset.parts) do
    local row = not exempt[part.exempts] and read(part.name)
    if row then roll_back(part, row, record, new, part.exempts ~= 'approved' or not known) end
  end
  local address = (new.number or new.country) and read('address')
  if address then targets.forget(address, new.number and record.pseudonym, new.country and record.country) end
end
