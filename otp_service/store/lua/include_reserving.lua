-- Counts a message in subjects of one slot, before the number's slot decides about it; and takes that back, for a message that it did not
-- let pass, or that the number's reputation spares. What comes of it is told in groups (see findings). The same rules test and count as where
-- all subjects are in one slot. Nothing is known of the number here, so nothing is spared.
local reserving = {}
local NOBODY = { approved = false, known_device = false }
local SHARE, LIFE = 32, 1000 -- of room that is counted ahead, one part in so many; milliseconds for which that may be used
local lists = {} -- of names, by their text

local function has(names, name) return string.find(names, ' ' .. name .. ' ', 1, true) ~= nil end

local function names_of(text)
  local names = lists[text]
  if names then return names end
  names = {}
  for name in string.gmatch(text, '%S+') do names[#names + 1] = name end
  lists[text] = names
  return names
end

-- Returns what a message is, as the guard has it (`sending`), as far as its subjects are told: names of these with blanks between; start,
-- resend, fallback or dispatch (a further call of a gateway, which counts in ceilings only); home or abroad; marks with a blank before and
-- behind each: safe, passed (a human check); how the country's breaker is assumed to stand: open, or empty. That is all for a block. Of
-- networks also country and the number's pseudonym; of an application its name, price in millionths, the carrier's range, and address and
-- its /48 as pseudonyms, empty for none.
function reserving.about(of, kind, place, marks, assumed, country, pseudonym, application, price, range, network, wide)
  local passed = has(marks, 'passed')
  return { of = of, names = names_of(of), kind = kind, place = place, price = price and tonumber(price), range = range, assumed = assumed,
    safe = has(marks, 'safe'), passed = passed, check = guard.CHECK[passed],
    about = { application = application, country = country, pseudonym = pseudonym, network = network, wide = wide, guard = '' } }
end

-- Reads the subjects of one slot. Leaves in `sending` what was kept of each, by name.
function reserving.read(sending, keys)
  local found, texts = subjects.read_shared(sending.names, keys)
  sending.subjects, sending.reputation, sending.texts = found, NOBODY, {}
  for i, name in ipairs(sending.names) do sending.texts[name] = texts[i] end
end

-- The groups that are no parts of the rules against fraud: of which subject, how it tests and counts in `sending`, and how it takes back
-- what a `group` counted at a time. A test returns what is noted of the group.
local function of_windows(scope, subject)
  return {
    subject = subject,
    test = function(sending)
      local row, ends = sending.subjects[subject], {}
      guard.test_sliding(sending.rule_hits, scope, row)
      for i, window in ipairs(ruleset.windows[scope]) do ends[i] = row[window.place + 1] end
      local quota = scope == 'application' and ruleset.quota
      return { ends = ends, quota = quota and { amount = quota.amount, used = quota.used, ttl = quota.ttl } or nil }
    end,
    take_back = function(sending, group, _, messages)
      for i, window in ipairs(ruleset.windows[scope]) do
        limits.take_back(window, sending.subjects[subject], group.ends[i], messages)
      end
    end,
  }
end

local GROUPS = {
  starts = of_windows('ip', 'address'),
  requests = of_windows('application', 'application'),
  targets = {
    subject = 'address',
    test = function(sending)
      local about, address = sending.about, sending.subjects.address
      local new = ruleset.has_new and targets.are_new(address, about.pseudonym, about.country) or {}
      local added = (new.number or new.country) and targets.add(address, about.pseudonym, about.country) or {}
      sending.new = new
      return { new = new, added = added }
    end,
    take_back = function(sending, group)
      local about, added = sending.about, group.added
      if added.number or added.country then
        targets.forget(sending.subjects.address, added.number and about.pseudonym, added.country and about.country)
      end
    end,
  },
  failures = {
    subject = 'application',
    test = function(sending)
      guard.test_failures(sending)
      return {}
    end,
    take_back = function() end, -- it counts nothing
  },
  money = {
    subject = 'application',
    test = function(sending)
      guard.test_money(sending)
      if sending.price > 0 then spending.add(sending.subjects, sending.about.country, sending.price, now) end
      return {}
    end,
    take_back = function(sending, _, at, messages)
      if sending.price > 0 then spending.add(sending.subjects, sending.about.country, -messages * sending.price, at) end
    end,
  },
  newcomers = {
    subject = 'country',
    test = function(sending)
      newcomers.test(sending)
      return { suspected = sending.suspected, passed_under_suspicion = sending.passed_under_suspicion,
        trickled = sending.trickled }
    end,
    take_back = function(sending, group, at)
      if group.trickled then newcomers.take_back(sending.subjects.country, at) end
    end,
  },
}
-- Of a call of a gateway that nothing is reserved for yet; a message has reserved for its first.
GROUPS.ceilings = {
  subject = 'application',
  test = function(sending)
    local found = sending.subjects
    spending.test(sending.rule_hits, found.application, found.country, sending.about.country, sending.price)
    spending.add(found, sending.about.country, sending.price, now)
    return {}
  end,
  take_back = GROUPS.money.take_back,
}
local OF_ALL = { 'starts', 'targets', 'requests', 'failures', 'money', 'newcomers' }

local function of_part(part)
  local b = part.breaker_at
  return {
    subject = part.name,
    test = function(sending)
      local row = sending.subjects[part.name]
      sending.counted, sending.changes = '', {}
      fraud.test_part(sending, part, row)
      local change = sending.changes[1]
      return { marks = sending.counted, stands = sending.stands[part.name], assumed = part.follows and sending.assumed,
        change = change and { stands = change.stands, ends = change.ends } or nil,
        place = part.breaker and conversions.place(row, b) or nil }
    end,
    take_back = function(sending, group, at, messages)
      sending.stands = { [part.name] = group.stands }
      if part.follows then sending.stands[part.follows.breaker] = group.assumed end
      fraud.take_back(sending, part, sending.subjects[part.name], at, group.place, messages)
    end,
    -- Notes of a breaker that changed what it was before, and as what it is left.
    note_change = function(sending, change)
      local row = sending.subjects[part.name]
      change.was = conversions.values(rows.unpack(row.key, sending.texts[part.name], ruleset.layouts[part.name]), b)
      change.left = conversions.values(row, b)
    end,
    undo_change = function(sending, group)
      if conversions.restore(sending.subjects[part.name], b, group.change.left, group.change.was) then group.place = nil end
    end,
  }
end

-- Returns the groups that apply to a message in the subjects that are here, in the order in which they are tested, and by name: the ruleset
-- keeps them.
local function groups_of(sending)
  local what = sending.kind .. sending.place .. (sending.safe and ' safe ' or ' ') .. sending.of
  ruleset.groups = ruleset.groups or {}
  local known = ruleset.groups[what]
  if known then return known.names, known.by end
  local names, by = {}, {}
  ruleset.groups[what] = { names = names, by = by }
  local function add(name, group)
    if sending.subjects[group.subject] then names[#names + 1], by[name] = name, group end
  end
  if sending.kind == 'dispatch' then
    add('ceilings', GROUPS.ceilings)
    return names, by
  end
  for _, name in ipairs(OF_ALL) do
    if not (name == 'requests' and sending.kind == 'fallback') then add(name, GROUPS[name]) end
  end
  for _, part in ipairs(sending.safe and {} or ruleset.parts_of[sending.kind][sending.place]) do
    add(part.name, of_part(part))
  end
  return names, by
end

-- Notes the subjects that a group changed.
local function note_changed(found, changed)
  for _, row in ipairs(found) do
    if row.changed then changed[row], row.changed = true, false end
  end
end

-- Tells whether nothing stands against a message in the subjects of its application, whatever its carrier range, and nothing changes.
local function is_calm(sending, told)
  for _, group in pairs(told) do
    if not group.counted or group.hits or group.change or (group.stands or 'closed') ~= 'closed' then return false end
  end
  return newcomers.are_trusted(sending.subjects.country)
end

-- Returns the part of the rules that counts a message in its application's country, nil where it was not tested.
local function part_of_country(sending, told)
  for _, part in ipairs(told.country and ruleset.parts_of[sending.kind][sending.place] or {}) do
    if part.name == 'country' then return part end
  end
end

-- Returns for how many more messages like one that was just counted there is room, and for how many milliseconds no interval ends.
local function room(sending, told, country)
  local found, most, lasts = sending.subjects, math.huge, LIFE
  if sending.price > 0 then
    most, lasts = spending.room(found.application, found.country, sending.about.country, sending.price, lasts)
  end
  for _, window in ipairs(told.requests and ruleset.windows.application or {}) do
    most, lasts = math.min(most, window.amount - window.used - 1), math.min(lasts, window.ttl)
  end
  for _, rule in ipairs(country and country.buckets or {}) do
    if rule.always or fraud.meets(sending, rule) then
      local level, capacity = buckets.leak(found.country, rule)
      most = math.min(most, capacity - level)
    end
  end
  return most, lasts
end

-- Counts more messages like one that was just counted ahead of their coming: of so many at most, and of the room a small part. What was
-- found holds for each. Returns how many, and for how many milliseconds they may be used.
local function count_ahead(sending, told, most)
  if most == 0 or not is_calm(sending, told) then return 0, 0 end
  local country = part_of_country(sending, told)
  local fits, life = room(sending, told, country)
  local ahead, found, requests = math.max(0, math.min(most, math.floor(fits / SHARE))), sending.subjects, told.requests
  if requests then
    for _, window in ipairs(ruleset.windows.application) do
      found.application[window.place] = found.application[window.place] + ahead
    end
    if requests.quota then requests.quota.used = requests.quota.used + ahead end
  end
  if sending.price > 0 then spending.add(found, sending.about.country, ahead * sending.price, now) end
  if country then fraud.count_more(sending, country, found.country, ahead) end
  return ahead, life
end

-- Tests a message, and counts it in each group that has room, and more alike where they may be counted ahead. Returns the groups, how many
-- more were counted, and for how many milliseconds they may be used.
function reserving.reserve(sending, most_ahead)
  local found, told, changed = sending.subjects, {}, {}
  sending.new, sending.stands = {}, {}
  local names, by = groups_of(sending)
  for _, part in ipairs(ruleset.parts) do
    if part.follows then sending.stands[part.follows.breaker] = sending.assumed end
  end
  local refused = false
  for _, name in ipairs(names) do
    sending.rule_hits = {}
    local group = by[name].test(sending)
    group.hits, told[name] = sending.rule_hits[1] and sending.rule_hits, group
    group.counted = not rule_hits.refusal(sending.rule_hits)
    refused = refused or not group.counted
    if not group.counted then by[name].take_back(sending, group, now, 1) end
    if group.change then by[name].note_change(sending, group.change) end
    if not (group.counted or group.change) then
      for _, row in ipairs(found) do row.changed = false end
    end
    note_changed(found, changed)
  end
  local suspicion = told.newcomers
  if suspicion and suspicion.passed_under_suspicion and sending.kind == 'start' and not refused then
    suspicion.repeated = not guard.is_first(sending.about, 'passed')
  end
  local ahead, life = count_ahead(sending, told, most_ahead)
  for row in pairs(changed) do rows.write(row, row.life) end
  local noted = told.targets
  if noted and (noted.added.number or noted.added.country) then noted.as = redis.sha1hex(found.address.text) end
  return told, ahead, life
end

-- Takes back what groups counted at a time of so many messages, but those that are to be `kept`, and what their breakers changed, but those
-- that `stand`: names with a blank before and behind each. Rows that are gone stay so. What was new to an address stays noted, and counted,
-- where others came since: they may have found it known.
function reserving.give_back(sending, told, at, kept, stand, messages)
  local found, texts, changed, noted = sending.subjects, sending.texts, {}, told.targets
  if noted and noted.as and not has(kept, 'targets') and noted.as ~= redis.sha1hex(texts.address or '') then
    noted.counted, noted.new = false, {}
  end
  sending.new = noted and noted.new or {}
  local _, by = groups_of(sending)
  for name, group in pairs(told) do
    local own = not has(kept, name) and by[name]
    if own and group.change and not has(stand, name) then
      own.undo_change(sending, group)
      changed[own.subject] = true
    end
    if own and group.counted then
      own.take_back(sending, group, at, messages)
      changed[own.subject] = true
      if name == 'money' or name == 'ceilings' then changed.country = true end
    end
  end
  for i, name in ipairs(sending.names) do
    if texts[name] and changed[name] then rows.write(found[i], found[i].life) end
  end
end
