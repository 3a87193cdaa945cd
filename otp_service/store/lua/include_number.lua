-- The state of a number: approvals and devices, messages, wrong codes by application, and its last verifications.
-- Its row has a fixed layout, and a tail of four texts: times of messages; devices (22 characters of a pseudonym and a time each); last
-- verifications, newest first (identifier, blank, time, a plus sign for each further message, line feed); and applications (length of the
-- name, name, ENTRY, times of wrong codes, times of messages to known devices). A script has the list of the row's values, with `sends`,
-- `devices`, `recent`, `others`, and of its application `entry`, `wrong` and `own`.
local number = {}

local ROW = '<I6I6I2I6I2I6I4I2I2'
local APPROVED, ANYWHERE, KNOWN, UNKNOWN, SENDS, DEVICES, RECENT = 1, 2, 3, 5, 7, 8, 9 -- places of the values
local ENTRY = '<I6I2I6I2I6I2I6I6I2I2'
local E_DEVICE, E_KNOWN, E_UNKNOWN, E_ROW, E_LOCKED, E_WRITTEN, E_TIMES, E_OWN = 1, 2, 4, 6, 7, 8, 9, 10
local TIME, DEVICE, MAX_RECENT = 6, 28, 20
local OF_APPLICATION = 4 -- characters with which all devices of an application begin; the rest names one (Keyring.device_pseudonym)
local VERSION = '1\n'

-- A streak is its length and the time of its last event. Known devices have their own: unknown ones make no known one wait.
local function streak_place(trust, known, unknown) return trust == 'known' and known or unknown end

-- Returns the milliseconds to wait, longer with each event of a streak, and its length.
local function streak_wait(rule, length, last)
  if length == 0 or last > now + clock.WRONG then return 0, 0 end -- one that is over is older than any wait
  return math.max(0, last + rule.waits[math.min(length, #rule.waits)] - now), length
end

local function longer_streak(rule, length, last)
  return (now - last >= rule.reset_after and 0 or length) + 1
end

local function recently(at) return at > 0 and now - at < ruleset.known end

local function read_entries(self, text, place)
  local others = {}
  while place <= #text do
    local begins, size = place, string.byte(text, place)
    local name = string.sub(text, place + 1, place + size)
    local entry = { struct.unpack(ENTRY, text, place + 1 + size) }
    local times = entry[E_OWN + 1]
    local own = times + TIME * entry[E_TIMES]
    place = own + TIME * entry[E_OWN]
    local counts = now - entry[E_WRITTEN] < ruleset.lifetimes.guesses
    if name == self.application then
      self.entry, self.wrong, self.own = entry, string.sub(text, times, own - 1), string.sub(text, own, place - 1)
      if not counts then -- its streaks are over
        for streak = E_KNOWN, E_LOCKED do entry[streak] = 0 end
      end
    elseif counts or recently(entry[E_DEVICE]) then
      others[#others + 1] = string.sub(text, begins, place - 1)
    end
  end
  self.others = table.concat(others)
end

local function new(key, application, ...)
  return { key = key, application = application, sends = '', devices = '', recent = '', others = '', wrong = '',
    own = '', entry = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, ... }
end

-- Reads the state of a number from its row, false for none.
function number.read(key, text, application)
  if not text then return new(key, application, 0, 0, 0, 0, 0, 0, 0, 0, 0) end
  local self = new(key, application, struct.unpack(ROW, text, #VERSION + 1))
  local sends = self[RECENT + 1]
  local devices = sends + TIME * self[SENDS]
  local recent = devices + DEVICE * self[DEVICES]
  local entries = recent + self[RECENT]
  self.sends, self.devices = string.sub(text, sends, devices - 1), string.sub(text, devices, recent - 1)
  self.recent = string.sub(text, recent, entries - 1)
  if entries <= #text then read_entries(self, text, entries) end
  return self
end

local UNKNOWN_NUMBER = { approved = false, some_device = false, own_device = false, known_device = false }

-- Tells whether the number got at least `messages` messages since its last approval, of verifications that began after it.
local function is_stranger(self, messages)
  for at, further in string.gmatch(self.recent, ' (%d+)(%+*)\n') do
    if tonumber(at) <= self[APPROVED] then return false end
    messages = messages - 1 - #further
    if messages <= 0 then return true end
  end
  return false
end

-- Returns how well a number is known: recently `approved` and no stranger since (with a known device it is none), from `some_device`, from
-- a device of this application (`own_device`), from this device (`known_device`).
function number.reputation(self, device, zone)
  if self[APPROVED] == 0 then return UNKNOWN_NUMBER end
  local at = device ~= '' and string.find(self.devices, string.sub(device, 1 + OF_APPLICATION), 1, true)
  local known = at and recently(struct.unpack('<I6', self.devices, at + DEVICE - TIME - OF_APPLICATION)) or false
  local approved = known or (recently(self[APPROVED]) and not is_stranger(self, ruleset.known_messages[zone]))
  return { approved = approved, some_device = recently(self[ANYWHERE]), own_device = recently(self.entry[E_DEVICE]),
    known_device = known }
end

-- Returns the milliseconds that a device of this trust waits after messages, and the streak's length.
function number.cooldown(self, trust)
  local place = streak_place(trust, KNOWN, UNKNOWN)
  return streak_wait(ruleset.cooldown, self[place], self[place + 1])
end

function number.sent(self, trust, kind)
  self.sends = limits.with_now('number', self.sends)
  if trust == 'known' then self.own = limits.with_now('number', self.own) end
  if ruleset.cooldown and kind ~= 'fallback' then
    local place = streak_place(trust, KNOWN, UNKNOWN)
    self[place] = longer_streak(ruleset.cooldown, self[place], self[place + 1])
    self[place + 1] = now
  end
end

function number.started(self, id)
  self.recent = string.format('%s %d\n%s', id, now, self.recent)
  if #self.recent < MAX_RECENT * #id then return end -- a line is longer than its identifier
  local _, count = string.gsub(self.recent, '\n', '')
  if count > MAX_RECENT then self.recent = string.match(self.recent, '^(.*\n)[^\n]*\n$') end
end

function number.resent(self, id)
  self.recent = string.gsub(self.recent, id .. ' %d+', '%0+')
end

-- Returns the milliseconds to wait after wrong codes, the streak's length, and the milliseconds that a lock still holds.
function number.guess_waits(self, trust)
  local entry = self.entry
  if entry[E_WRITTEN] == 0 then return 0, 0, 0 end -- there was none
  local place, wait, length = streak_place(trust, E_KNOWN, E_UNKNOWN), 0, 0
  if ruleset.guess_wait then wait, length = streak_wait(ruleset.guess_wait, entry[place], entry[place + 1]) end
  return wait, length, entry[E_LOCKED] - now
end

-- Notes a wrong code. Returns whether that locks.
function number.guessed_wrong(self, trust)
  local entry, place = self.entry, streak_place(trust, E_KNOWN, E_UNKNOWN)
  self.wrong = limits.with_now('failed_checks', self.wrong)
  if ruleset.guess_wait then
    entry[place], entry[place + 1] = longer_streak(ruleset.guess_wait, entry[place], entry[place + 1]), now
  end
  entry[E_ROW], entry[E_WRITTEN] = entry[E_ROW] + 1, now
  if not ruleset.lock or entry[E_ROW] < ruleset.lock.after then return false end
  entry[E_LOCKED], entry[E_ROW] = now + ruleset.lock.length, 0
  return true
end

-- Puts a device in front, newest first, in place of its application's oldest if that has too many: other applications' devices stay.
local function with_device(devices, device)
  local list, count = { device .. struct.pack('<I6', now) }, 1
  local application, name = string.sub(device, 1, OF_APPLICATION), string.sub(device, 1 + OF_APPLICATION)
  for place = 1, #devices, DEVICE do
    local known = string.sub(devices, place, place + DEVICE - 1)
    if string.sub(known, 1 + OF_APPLICATION, -TIME - 1) ~= name then
      local is_own = string.sub(known, 1, OF_APPLICATION) == application
      count = count + (is_own and 1 or 0)
      if not is_own or count <= ruleset.devices then list[#list + 1] = known end
    end
  end
  return table.concat(list)
end

-- Notes a right code, which ends the streaks of its kind of device and the row of wrong codes.
function number.approved(self, trust, device)
  local entry = self.entry
  self[streak_place(trust, KNOWN, UNKNOWN)], entry[streak_place(trust, E_KNOWN, E_UNKNOWN)], entry[E_ROW] = 0, 0, 0
  self[APPROVED] = now
  if device == '' then return end
  self[ANYWHERE], entry[E_DEVICE] = now, now
  self.devices = with_device(self.devices, device)
end

function number.times(text)
  local list = {}
  for place = 1, #text, TIME do list[#list + 1] = struct.unpack('<I6', text, place) end
  return list
end

local function holds_guesses(entry)
  return entry[E_KNOWN] > 0 or entry[E_UNKNOWN] > 0 or entry[E_ROW] > 0 or entry[E_LOCKED] > now
end

-- Forgets times of wrong codes, and those of messages, which all applications share. Returns how many of the two there were.
function number.forget_windows(self)
  local count = (self.wrong ~= '' and 1 or 0) + (self.sends ~= '' and 1 or 0)
  self.wrong, self.sends, self.own = '', '', ''
  return count
end

-- Forgets waits and lock after wrong codes, and the wait after messages, which all applications share. Returns how many kinds there were.
function number.forget_waits(self)
  local entry = self.entry
  local guesses = holds_guesses(entry) and 1 or 0
  local messages = (self[KNOWN] > 0 or self[UNKNOWN] > 0) and 1 or 0
  for place = E_KNOWN, E_LOCKED do entry[place] = 0 end
  for place = KNOWN, UNKNOWN + 1 do self[place] = 0 end
  return guesses + messages
end

-- Returns the times of devices that begin with a text, and the other devices.
local function split_devices(devices, begin)
  local times, others = {}, {}
  for place = 1, #devices, DEVICE do
    local device = string.sub(devices, place, place + DEVICE - 1)
    if string.sub(device, 1, #begin) == begin then
      times[#times + 1] = struct.unpack('<I6', device, DEVICE - TIME + 1)
    else
      others[#others + 1] = device
    end
  end
  return times, table.concat(others)
end

-- Returns for its holder: approval, times of devices that begin with a text, and of messages; and of the application: last device, times
-- of messages to known devices, and of wrong codes, and the end of a lock.
function number.shown(self, begin)
  local entry = self.entry
  return { self[APPROVED], split_devices(self.devices, begin), number.times(self.sends) },
    { entry[E_DEVICE], number.times(self.own), number.times(self.wrong), entry[E_LOCKED] > now and entry[E_LOCKED] or 0 }
end

-- Forgets the devices that begin with a text; with an empty text all that makes the number known. Counts stay.
function number.forget_standing(self, begin)
  local _, others = split_devices(self.devices, begin)
  self.devices, self.entry[E_DEVICE] = others, 0
  if begin == '' then self[APPROVED], self[ANYWHERE], self.recent = 0, 0, '' end
end

function number.write(self)
  local entry, own, life = self.entry, '', ruleset.ttls.number
  self[SENDS], self[DEVICES], self[RECENT] = #self.sends / TIME, #self.devices / DEVICE, #self.recent
  if entry[E_DEVICE] > 0 or self.wrong ~= '' or (entry[E_WRITTEN] > 0 and holds_guesses(entry)) then
    entry[E_TIMES], entry[E_OWN] = #self.wrong / TIME, #self.own / TIME
    own = string.char(#self.application) .. self.application .. struct.pack(ENTRY, unpack(entry, 1, E_OWN)) .. self.wrong
      .. self.own
  end
  if own ~= '' or self.others ~= '' then life = math.max(life, ruleset.lifetimes.guesses, entry[E_LOCKED] - now) end
  if self[APPROVED] > 0 then life = math.max(life, self[APPROVED] + ruleset.known - now) end
  redis.call('SET', self.key, VERSION .. struct.pack(ROW, unpack(self, 1, RECENT)) .. self.sends .. self.devices
    .. self.recent .. own .. self.others, 'PX', life)
end
