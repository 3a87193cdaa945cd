-- The outcome of a dispatch, in its slot of the record: channel|gateway|status|time|reason. A later format may
-- add values at the end: they are kept.
local deliveries = {}

local rank = { queued = 0, unknown = 1, sent = 2, failed = 3, expired = 3, undelivered = 3, delivered = 3 }

-- Returns the slot of a dispatch of a message.
function deliveries.slot(message, dispatch)
  return 'd' .. message .. '.' .. dispatch
end

-- Returns what a slot holds before there is an outcome; `gateway` is empty while the message waits.
function deliveries.queued(channel, gateway)
  return channel .. '|' .. gateway .. '|queued|' .. now .. '|'
end

-- Returns channel, gateway and status of a slot; nil when there is no such slot.
function deliveries.read(key, slot)
  return string.match(redis.call('HGET', key, slot) or '', '^(.-)|(.-)|(.-)|')
end

-- Writes an outcome unless it, or a later one, is there already: a receipt may overtake the gateway's answer, and
-- a terminal status is never undone. Returns whether it was written.
function deliveries.settle(key, slot, status, reason)
  local known = redis.call('HGET', key, slot) or ''
  local channel, gateway, before, more = string.match(known, '^(.-)|(.-)|(.-)|[^|]*|[^|]*(.*)$')
  if not before or before == status or rank[before] == 3 or rank[status] < rank[before] then return false end
  redis.call('HSET', key, slot, table.concat({ channel, gateway, status, now, reason }, '|') .. more)
  return true
end
