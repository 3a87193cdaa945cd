-- Evidence of an approval, under the identifier (`jti`) of its proofs: a hash of `application`, `basis` and `lifted` (see
-- `mirror.revoked`), `fence`, `redeemed` (a time), `started` (the verification, or time of the approval, that used it), and `reserved`
-- for a check of a recovery code, `until` a time. A later fence hides it: its use since then may be lost.
local evidence = {}
local RESERVED = 60000 -- milliseconds: longer than the ledger may take to spend a recovery code

-- Notes an approval, which is evidence for `life` milliseconds, 0 where nothing proves it.
function evidence.note(key, application, basis, lifted, life)
  if life == 0 then return end
  redis.call('HSET', key, 'application', application, 'basis', basis, 'lifted', lifted, 'fence', fence.at or 0)
  redis.call('PEXPIRE', key, life)
end

-- Returns an application's evidence, nil for none, and why it is not valid, as `mirror.revoked` does.
function evidence.read(key, application, elsewhere)
  local stored = redis.call('HMGET', key, 'application', 'basis', 'lifted', 'fence', 'started', 'reserved', 'until')
  if stored[1] ~= application or fence.hides(tonumber(stored[4])) then return nil end
  local self = { key = key, application = application, basis = stored[2], lifted = tonumber(stored[3]), started = stored[5] }
  self.reserved = now < tonumber(stored[7] or 0) and stored[6] or nil
  return self, mirror.revoked(self, self.basis, elsewhere)
end

-- Parses what was claimed in other buckets (claims.py): basis, position of the last lift or erasure, and why a user is refused.
function evidence.claimed(text)
  local lifted, refusal, basis = string.match(text, '^(%d+) (%S*) (.*)$')
  return { lifted = tonumber(lifted or 0), refusal = refusal or '', basis = basis or '' }
end

-- Returns a purpose's evidence; nil past `ends`, or if it is not valid, used, or reserved by another than `by`. Evidence that was `claimed`
-- in another bucket has no `key`: then only its age counts.
function evidence.needed(key, application, ends, claimed, by)
  if ends ~= '' and now >= tonumber(ends) then return nil end
  if ends == '' or not key then return claimed end
  local self, revoked = evidence.read(key, application)
  if not self or revoked or (self.reserved and self.reserved ~= by) then return nil end
  if not self.started or self.started == by then return self end
end

function evidence.reserve(self, by)
  if self.key then redis.call('HSET', self.key, 'reserved', by, 'until', now + RESERVED) end
end

function evidence.release(self)
  if self.key then redis.call('HDEL', self.key, 'reserved', 'until') end
end

function evidence.use(self, by)
  if self.key then redis.call('HSET', self.key, 'started', by) end
end
