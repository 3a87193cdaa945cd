-- What an approval changes for the guard: the sends of the verification were asked for by a person, and count no more.
--
-- A record remembers how its first message was counted: `guard` (flags), and the pseudonyms `context`, `block`, `network`,
-- `wide` (its /48) and `provider` (its /32); each in a field of its own, for a long value would triple the record. Flags: h
-- at home, s safe, a from an approved number, f from a known device, n and c number and country that were new to its
-- address. What its messages were counted in, of its block and its country, is in `in_block` and `in_country`.
local approvals = {}

-- Returns the flags of a start.
function approvals.flags(sending)
  local reputation, new = sending.reputation, sending.new
  return '.' .. (sending.place == 'home' and 'h' or '') .. (sending.safe and 's' or '')
    .. (reputation.approved and 'a' or '') .. (reputation.known_device and 'f' or '')
    .. (new.number and 'n' or '') .. (new.country and 'c' or '')
end

-- Returns the flags that a record remembers, by letter.
function approvals.read_flags(text)
  local flags = {}
  for letter in string.gmatch(text or '', '%a') do flags[letter] = true end
  return flags
end

-- Gives back to a part what a verification was counted for, and counts its approval. Rules for home and for abroad may share a
-- level or a window: each is seen to once. `messages` tells by bucket how often it was counted; `counts` whether the approval
-- makes room.
local function give_back(part, values, created, messages, counts)
  local done = {}
  for _, rule in ipairs(part.buckets) do
    if not done[rule.level] then values[rule.level] = math.max(0, values[rule.level] - messages(rule)) end
    if counts and not done[rule.approved] then counters.add(values, rule.approved, rule.window) end
    done[rule.level], done[rule.approved] = true, true
  end
  if part.breakers[1] then
    conversions.advance(values, part.breaker)
    conversions.approve(values, part.breaker, created)
  end
  if values[rows.TIME] == 0 then values[rows.TIME] = now end
  values[rows.ENDS] = now + ruleset.lifetimes[part.name]
end

-- Gives back what a verification was counted for, and counts its approval: of one number once, while it is known, however
-- many verifications of it were under way. `known` tells whether it was before this approval.
function approvals.give_back(record, known)
  local flags = approvals.read_flags(record.guard)
  if flags.s or not record.block then return end
  local found = subjects.read_shared(subjects.keys(record, true, {}))
  local looked_at = { approved = not flags.a, known_device = not flags.f }
  local new = { number = flags.n, country = flags.c }
  local touched = {}
  for _, part in ipairs(ruleset.parts) do
    if found[part.name] and looked_at[part.exempts] then
      local function messages(rule)
        if part.starts then return (not rule.new or new[rule.new]) and 1 or 0 end
        return bucket_counts.times(record['in_' .. part.name], rule.name)
      end
      give_back(part, found[part.name].values, tonumber(record.created), messages, part.exempts ~= 'approved' or not known)
      touched[part.name] = true
    end
  end
  if found.address and (flags.n or flags.c) then
    asked.forget(found.address, flags.n and record.pseudonym, flags.c and record.country)
    touched.address = true
  end
  for name in pairs(touched) do subjects.write(found, name) end
end
