-- The outcome of a dispatch, in its slot of the record: channel|gateway|status|time|reason.
local deliveries = {}

local rank = { queued = 0, unknown = 1, sent = 2, failed = 3, expired = 3, undelivered = 3, delivered = 3 }

-- Writes an outcome unless a later one is there already: a receipt may overtake the gateway's answer, and a
-- terminal status is never undone. Returns whether it was written.
function deliveries.settle(record, slot, status, reason)
  local channel, gateway, known = string.match(redis.call('HGET', record, slot) or '', '^(.-)|(.-)|(.-)|')
  if not known or rank[known] == 3 or rank[status] < rank[known] then return false end
  redis.call('HSET', record, slot, channel .. '|' .. gateway .. '|' .. status .. '|' .. now .. '|' .. reason)
  return true
end
