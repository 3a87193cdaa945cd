-- Evidence of an approval, under the name (`jti`) that all its proofs have: a hash of `application`, `basis` and `lifted` (see
-- `mirror.revoked`), `fence`, what it was used for: `redeemed` (a time), `started` (a verification, or the time of an approval); and
-- which check of a recovery code has it, `reserved`, `until` a time.
-- Behind a fence that was put later it is not there: what it was used for since may be lost.
local evidence = {}
local RESERVED = 60000 -- milliseconds: longer than the ledger may take to spend a recovery code

-- Notes an approval: on what basis it was given, and for how many milliseconds that is evidence, 0 where nothing proves it.
function evidence.note(key, application, basis, lifted, life)
  if life == 0 then return end
  redis.call('HSET', key, 'application', application, 'basis', basis, 'lifted', lifted, 'fence', fence.at or 0)
  redis.call('PEXPIRE', key, life)
end

-- Returns an application's evidence; nil where there is none. Then also why it is not valid any more, nil while it is, as
-- `mirror.revoked` does.
function evidence.read(key, application, elsewhere)
  local stored = redis.call('HMGET', key, 'application', 'basis', 'lifted', 'fence', 'started', 'reserved', 'until')
  if stored[1] ~= application or fence.hides(tonumber(stored[4])) then return nil end
  local self = { key = key, application = application, basis = stored[2], lifted = tonumber(stored[3]), started = stored[5] }
  self.reserved = now < tonumber(stored[7] or 0) and stored[6] or nil
  return self, mirror.revoked(self, self.basis, elsewhere)
end

-- Returns what was claimed in other buckets before a script (claims.py): its `basis`, the position of the last lift or erasure, and
-- why a user may not be named, '' for nothing.
function evidence.claimed(text)
  local lifted, refusal, basis = string.match(text, '^(%d+) (%S*) (.*)$')
  return { lifted = tonumber(lifted or 0), refusal = refusal or '', basis = basis or '' }
end

-- Returns the evidence of the earlier approval that a purpose needs; nil where that is refused: it is too old (at `ends`, empty where
-- none is needed), not valid any more, used already, or reserved for another name than `by`. With several buckets it was `claimed`
-- before, and has no `key` here: then its age alone is looked at.
function evidence.needed(key, application, ends, claimed, by)
  if ends ~= '' and now >= tonumber(ends) then return nil end
  if ends == '' or not key then return claimed end
  local self, revoked = evidence.read(key, application)
  if not self or revoked or (self.reserved and self.reserved ~= by) then return nil end
  if not self.started or self.started == by then return self end
end

-- Reserves evidence under a name: for a minute nothing else may use it.
function evidence.reserve(self, by)
  if self.key then redis.call('HSET', self.key, 'reserved', by, 'until', now + RESERVED) end
end

-- Ends the reservation of evidence that was not used.
function evidence.release(self)
  if self.key then redis.call('HDEL', self.key, 'reserved', 'until') end
end

-- Notes what evidence is used for, once.
function evidence.use(self, by)
  if self.key then redis.call('HSET', self.key, 'started', by) end
end
