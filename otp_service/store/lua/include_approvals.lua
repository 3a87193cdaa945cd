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

-- Reads what a record remembers, of the fields that `record.read` found. Returns the flags by letter, the context, and the
-- guard's keys: of its block and country, and of its address when they are asked for.
function approvals.read(found, with_address)
  local flags, keys = {}, {}
  for letter in string.gmatch(found.guard or '', '%a') do flags[letter] = true end
  local function add(part, tag, name) keys[#keys + 1] = 'otp:{' .. tag .. '}:guard/' .. part .. '/' .. name end
  if found.block then
    add('block', found.block, found.block)
    add('country', found.application, found.application .. '/' .. found.country)
  end
  if with_address and found.network then
    add('address', found.network, found.network)
    add('asked', found.network, found.network)
  end
  if with_address and found.wide then add('network', found.wide, found.wide) end
  if with_address and found.provider then add('provider', found.provider, found.provider) end
  return flags, found.context or '', keys
end

-- Gives back to a part what a verification was counted for, and counts its approval. Rules for home and for abroad may share a
-- level or a window: each is seen to once. `messages` tells by bucket how often it was counted; `counts` whether the approval
-- makes room.
local function give_back(part, state, created, messages, counts)
  local done = {}
  for _, rule in ipairs(part.buckets) do
    if not done[rule.name] then buckets.give_back(state, rule, messages(rule)) end
    if counts and not done[rule.approvals] then state[rule.approvals] = counters.add(state[rule.approvals], rule.window) end
    done[rule.name], done[rule.approvals] = true, true
  end
  if part.breakers[1] then
    state.c = conversions.advance(state.c)
    conversions.approve(state.c, created)
  end
  state.at = state.at or now
end

-- Gives back what a verification was counted for, and counts its approval: of one number once, while it is known, however
-- many verifications of it were under way. `known` tells whether it was before this approval.
function approvals.give_back(found, known)
  local flags, _, names = approvals.read(found, true)
  if flags.s or #names == 0 then return end
  local keys, kept = states.read(names, 1)
  local looked_at = { approved = not flags.a, known_device = not flags.f }
  local new = { number = flags.n, country = flags.c }
  for _, part in ipairs(ruleset.parts) do
    local state = kept[part.name]
    if state and looked_at[part.exempts] then
      local function messages(rule)
        if part.starts then return (not rule.new or new[rule.new]) and 1 or 0 end
        return bucket_counts.times(found['in_' .. part.name], rule.name)
      end
      give_back(part, state, tonumber(found.created), messages, part.exempts ~= 'approved' or not known)
      states.write(keys[part.name], state, ruleset.lifetimes[part.name])
    end
  end
  if keys.asked and flags.n then redis.call('SREM', keys.asked, found.pseudonym) end
  if keys.asked and flags.c then redis.call('SREM', keys.asked, found.country) end
end
