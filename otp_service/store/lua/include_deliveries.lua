-- What became of a dispatch, in its slot of the record:
-- channel|gateway|status|time|reason|choice|begun|raw status|reference. `choice` is why this gateway was chosen,
-- `begun` when it was called; both times in milliseconds. A later format may add values at the end: they are kept.
local deliveries = {}

local rank = { queued = 0, unknown = 1, sent = 2, failed = 3, expired = 3, undelivered = 3, delivered = 3 }

-- Returns the slot of a dispatch of a message.
function deliveries.slot(message, dispatch)
  return 'd' .. message .. '.' .. dispatch
end

-- Returns what a slot holds before there is an outcome; gateway and choice are empty while the message waits.
function deliveries.queued(channel, gateway, choice)
  return table.concat({ channel, gateway or '', 'queued', now, '', choice or '', now, '', '' }, '|')
end

-- Returns channel, gateway and status of what a slot holds; nil when it holds nothing.
function deliveries.parts(value)
  return string.match(value or '', '^(.-)|(.-)|(.-)|')
end

-- Tells whether a gateway reported that a message has arrived. `record` is the record as a flat list.
function deliveries.arrived(record, message)
  for i = 1, #record, 2 do
    if string.match(record[i], '^d(%d+)%.%d+$') == message then
      local _, _, status = deliveries.parts(record[i + 1])
      if status == 'delivered' then return true end
    end
  end
  return false
end

-- Writes an outcome unless it, or a later one, is there already: a receipt may overtake the gateway's answer, and
-- a terminal status is never undone. Returns what the slot holds now, as a list; false when it was not written.
-- `raw` and `reference` may be empty; then what is known of them stays.
function deliveries.settle(key, slot, status, reason, raw, reference)
  local known = redis.call('HGET', key, slot) or ''
  local values = {}
  for value in string.gmatch(known .. '|', '(.-)|') do values[#values + 1] = value end
  local before = values[3]
  if reference ~= '' and before and values[9] ~= reference then -- learnt even when a receipt was faster
    values[9] = reference
    redis.call('HSET', key, slot, table.concat(values, '|'))
  end
  if not before or before == status or rank[before] == 3 or rank[status] < rank[before] then return false end
  values[3], values[4], values[5] = status, now, reason
  if raw ~= '' then values[8] = raw end
  redis.call('HSET', key, slot, table.concat(values, '|'))
  return values
end
