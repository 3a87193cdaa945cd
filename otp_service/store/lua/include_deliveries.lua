-- Dispatches, each in a slot of the record: channel|gateway|status|time|reason|choice|begun|raw status|reference|identifier.
-- `choice` is the reason for the gateway, `begun` the time of the call; gateway, choice and identifier are empty while the message waits.
-- Times are in milliseconds. The first message waits since the verification began: its slot has no time before an outcome.
local deliveries = {}

local rank = { queued = 0, unknown = 1, sent = 2, failed = 3, expired = 3, undelivered = 3, delivered = 3 }

function deliveries.slot(message, dispatch) return string.format('d%d.%d', message, dispatch) end

-- Returns channel, gateway, status and reason of a slot; nil for an empty one.
function deliveries.parse(value) return string.match(value or '', '^(.-)|(.-)|(.-)|.-|(.-)|') end

-- Counts a message's calls by status, those up to the number `after` left out. `record` is a flat list.
function deliveries.tally(record, message, after)
  local tally = { sent = 0, delivered = 0, unknown = 0 }
  for i = 1, #record, 2 do
    local number, dispatch = string.match(record[i], '^d(%d+)%.(%d+)$')
    if number == message and tonumber(dispatch) > after then
      local _, _, status = deliveries.parse(record[i + 1])
      tally[status] = (tally[status] or 0) + 1
    end
  end
  return tally
end

function deliveries.has_arrived(key, message)
  local tally = deliveries.tally(redis.call('HGETALL', key), message, 0)
  return tally.sent + tally.delivered > 0
end

-- Adds an opt-out at the gateway to an event's values, with the mirror's position, or the start's while the mirror is built: a lift after
-- that position is newer than the opt-out.
function deliveries.opt_out(values, verification, mirror)
  if not verification then return values end
  values.opted_out, values.pseudonym = '1', verification.pseudonym
  values.ledger = redis.call('HGET', mirror, 'sequence') or verification.ledger
  return values
end

-- Tells whether a report has decided the message's next step: a further message, or none.
function deliveries.is_decided(key, message) return redis.call('HEXISTS', key, 'after' .. message) == 1 end

-- Reports the outcome of a call and its cost. The slot may already hold a faster report, which prevails.
function deliveries.report(events, verification, slot, outcome, reason, cost, held, values)
  values.status = (held[3] == outcome or held[3] == 'queued') and '' or held[3]
  values.slot, values.channel, values.gateway, values.choice = slot, held[1], held[2], held[6]
  values.dispatch = held[10] ~= '' and held[10] or nil
  values.reason, values.cost = reason, cost
  streams.report(events, 'delivery.' .. outcome, verification, values)
end

local function values_of(text)
  local values = {}
  for value in string.gmatch(text .. '|', '(.-)|') do values[#values + 1] = value end
  return values
end

-- Closes the call of a job, only that of `slot` if there is one. Returns its highest cost, its slot's values and its slot; nil if closed.
function deliveries.close(calls, place, slot)
  local values = values_of(redis.call('HGET', calls, place) or '')
  if not values[2] or (slot and values[1] ~= slot) then return nil end
  redis.call('HDEL', calls, place)
  return values[2], { unpack(values, 3) }, values[1]
end

-- Writes an outcome unless it, or a later one, is stored: a receipt may overtake the gateway's answer. A final status stays, but a failure
-- without a raw status may become delivered. Returns the slot's values, nil for none, and whether they changed. Empty arguments do not.
function deliveries.settle(key, slot, status, reason, raw, reference)
  local values = values_of(redis.call('HGET', key, slot) or '')
  local before = values[3]
  if not before then return nil, false end
  for i = 4, 9 do values[i] = values[i] or '' end -- a message that waits has fewer
  if reference ~= '' and values[9] ~= reference then -- learnt even when a receipt was faster
    values[9] = reference
    redis.call('HSET', key, slot, table.concat(values, '|'))
  end
  local wrong = before == 'failed' and values[8] == '' and status == 'delivered'
  if before == status or rank[status] < rank[before] then return values, false end
  if rank[before] == 3 and not wrong then return values, false end
  if values[7] == '' then values[7] = values[4] end -- it was queued then, and nobody called
  values[3], values[4], values[5] = status, now, reason
  if raw ~= '' then values[8] = raw end
  redis.call('HSET', key, slot, table.concat(values, '|'))
  return values, true
end

-- Reports the call that a dead worker left open for a job as unknown, at its highest cost.
function deliveries.interrupt(key, events, calls, place, verification)
  local max_cost, held, slot = deliveries.close(calls, place)
  if not max_cost then return end
  held = deliveries.settle(key, slot, 'unknown', 'interrupted', '', '') or held
  deliveries.report(events, verification, slot, 'unknown', 'interrupted', max_cost, held, {})
end
