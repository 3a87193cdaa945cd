-- An approval's roll back in the guard: a person requested the messages, so they count no more. The recording worker calls it.
-- `guard` in a record: flags, number prefix, a dot, marks of buckets (ruleset_register): `hn.bu3600 bu172800 cu86400 `. Flags: h home, s
-- allowlisted, a approved number, f known device, n, c number, country new to the address, q human check passed, k under suspicion, r repeated.
local approvals = {}

function approvals.note(attempt)
  local reputation, new = attempt.reputation, attempt.new
  return (attempt.zone == 'home' and 'h' or '') .. (attempt.allowlisted and 's' or '') .. (reputation.approved and 'a' or '')
    .. (reputation.known_device and 'f' or '') .. (new.number and 'n' or '') .. (new.country and 'c' or '')
    .. (attempt.passed and 'q' or '') .. (attempt.passed_under_suspicion and 'k' or '') .. (attempt.repeated and 'r' or '') .. attempt.range .. '.'
    .. attempt.counted
end

function approvals.has(record, flag) return string.find(record.guard, '^%a*' .. flag) ~= nil end

-- Gives back to a row what a verification was counted for in a part; counts the approval if `makes_room`. `new`: see `targets.are_new`.
local function roll_back(part, row, record, new, makes_room)
  for _, rule in ipairs(part.levels) do
    local _, times = string.gsub(record.guard, rule.mark, '')
    if part.starts then times = (not rule.new or new[rule.new]) and 1 or 0 end
    row[rule.level] = math.max(0, row[rule.level] - times)
  end
  for _, approval in ipairs(makes_room and part.approvals or {}) do counters.add(row, approval.approved, approval.window) end
  if part.breakers[1] and not approvals.has(record, 'a') then
    conversions.advance(row, part.breaker_at)
    conversions.approve(row, part.breaker_at, record.created)
  end
  if row[rows.TIME] == 0 then row[rows.TIME] = now end
  row[rows.ENDS] = now + part.life
end

-- Rolls back a verification, and counts its approval unless the number was `known` before. `read` returns the row of a subject or nil.
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
