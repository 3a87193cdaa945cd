-- The mirror of the ledger: how far it has come, and what it says of a number (see mirror.py). A message that it must
-- allow waits while it is behind what the ledger is known to have come to: an opt-out might be missing.
local mirror = {}

-- Tells whether a number is frozen for an application or for all, as far as the mirror has come: that decides alone, so
-- that a check never depends on the ledger.
function mirror.frozen(number, application)
  local kept = redis.call('HMGET', number, 'f:*', 'f:' .. application)
  return kept[1] or kept[2]
end

-- Returns what keeps an application's messages of a purpose from a number: 'mirror-behind', 'frozen', 'suppressed' or
-- 'consent-required'; nil when nothing does. Then also the place in the ledger that it was looked up at.
-- `demand` is what the application asks for: 'required', 'recorded' or 'off'. `since` is the place from which on a
-- withdrawal counts.
function mirror.refusal(head, number, about, identity, least, demand, since)
  local place = redis.call('HMGET', head, 'identity', 'sequence', 'ahead')
  if place[1] ~= identity or tonumber(place[2]) < tonumber(least) or place[3] then return 'mirror-behind' end
  local application = about.application
  local kept = redis.call('HMGET', number, 's:*', 's:' .. application, 'c:' .. application .. ':' .. about.purpose,
    'f:*', 'f:' .. application)
  if kept[4] or kept[5] then return 'frozen' end
  for i = 1, 2 do
    if kept[i] and (kept[i] == '' or tonumber(kept[i]) > now) then return 'suppressed' end
  end
  if demand ~= 'off' then
    local state, from = string.match(kept[3] or '', '^(%a+)|(%d+)$')
    if state == 'withdrawn' and tonumber(from) > tonumber(since) then return 'consent-required' end
    if demand == 'required' and state ~= 'given' then return 'consent-required' end
  end
  return nil, place[2]
end
