-- What an approval changes for the guard: the sends of the verification were asked for by a person, and count no more.
--
-- A record remembers how its first message was counted: `guard` (flags), and the pseudonyms `context`, `block`, `network`
-- and `wide` (its /48); each in a field of its own, for a long value would triple the record. Flags: h at home, s safe,
-- a from an approved number, f from a familiar context, n and c number and country that were new to its address.
local approvals = {}
local PART_OF = { block = 'block', network = 'address', wide = 'network' }

-- Returns what a record remembers of a start, field and value in turn.
function approvals.memory(sending)
  local flags = { '.', sending.place == 'home' and 'h' or '', sending.safe and 's' or '',
    sending.standing.approved and 'a' or '', sending.standing.familiar and 'f' or '',
    sending.new.number and 'n' or '', sending.new.country and 'c' or '' }
  local fields = { 'guard', table.concat(flags) }
  for field, part in pairs(PART_OF) do
    local key = sending.keys[part]
    if key then
      fields[#fields + 1], fields[#fields + 2] = field, string.match(key, '[^/]+$')
    end
  end
  if sending.context ~= '' then
    fields[#fields + 1], fields[#fields + 2] = 'context', sending.context
  end
  return fields
end

-- Reads what a record remembers, of the fields that `record.of` found. Returns the flags by letter, the context, and the
-- guard's keys: of its block and country, and of its address when they are asked for.
function approvals.remembered(found, with_address)
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
  return flags, found.context or '', keys
end

-- Gives back what a verification of some messages was counted for, and counts its approval.
function approvals.give_back(found)
  local flags, _, names = approvals.remembered(found, true)
  if flags.s or #names == 0 then return end
  local created, messages = tonumber(found.created), tonumber(found.sends)
  local keys, kept = states.read(names)
  local counted, done, touched = { approved = not flags.a, familiar = not flags.f }, {}, {}
  for _, rule in ipairs(ruleset.buckets) do
    local part = kept[rule.part]
    if part and counted[rule.spares] and not done[rule.part .. rule.name] then
      local new = not rule.new or (rule.new == 'number' and flags.n) or (rule.new == 'country' and flags.c)
      if new then buckets.give_back(part, rule, rule.starts and 1 or messages) end
      local window = rule.part .. rule.approvals
      if not done[window] then part[rule.approvals] = counters.add(part[rule.approvals], rule.window) end
      done[rule.part .. rule.name], done[window], touched[rule.part] = true, true, true
    end
  end
  for _, rule in ipairs(ruleset.breakers) do
    local part = kept[rule.part]
    if part and counted[rule.spares] and not done[rule.part] then
      local seen = conversions.now(part.c)
      conversions.approve(seen, created)
      part.c, done[rule.part], touched[rule.part] = conversions.state(seen), true, true
    end
  end
  for part in pairs(touched) do
    kept[part].at = kept[part].at or now
    states.write(keys[part], kept[part], ruleset.lives[part])
  end
  if keys.asked and flags.n then redis.call('SREM', keys.asked, found.pseudonym) end
  if keys.asked and flags.c then redis.call('SREM', keys.asked, found.country) end
end
