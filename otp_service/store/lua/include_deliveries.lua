-- What became of a dispatch, in its slot of the record:
-- channel|gateway|status|time|reason|choice|begun|raw status|reference|identifier. `choice` is why this gateway was chosen,
-- `begun` when it was called, if it was; both times in milliseconds; the identifier is the dispatch's.
-- The first message has waited since the verification began: its slot has no time before there is an outcome.
local deliveries = { FIRST = 'd1.1' }

local rank = { queued = 0, unknown = 1, sent = 2, failed = 3, expired = 3, undelivered = 3, delivered = 3 }

-- Returns the slot of a dispatch of a message.
function deliveries.slot(message, dispatch)
  return string.format('d%d.%d', message, dispatch)
end

-- Returns what the first slot holds at first.
function deliveries.first_slot(channel)
  return channel .. '||queued|||'
end

-- Returns what a slot holds before there is an outcome; gateway, choice and identifier are empty while the message waits.
function deliveries.new_slot(channel, gateway, choice, id)
  if not gateway then return string.format('%s||queued|%d||', channel, now) end
  return table.concat({ channel, gateway, 'queued', now, '', choice, now, '', '', id }, '|')
end

-- Returns channel, gateway, status and reason of what a slot holds; nil when it holds nothing.
function deliveries.parse(value)
  return string.match(value or '', '^(.-)|(.-)|(.-)|.-|(.-)|')
end

-- Counts the calls for a message by what became of them, those up to the number `after` left out. `record` is the
-- record as a flat list.
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

-- Tells whether any call for a message brought it to a gateway. `key` is the record's.
function deliveries.has_arrived(key, message)
  local tally = deliveries.tally(redis.call('HGETALL', key), message, 0)
  return tally.sent + tally.delivered > 0
end

-- Adds to an event's values what tells the ledger that a number's holder opted out at the gateway. `verification` may be nil:
-- its record has gone. `mirror` is the mirror's head: what was lifted after the place that it has come to is lifted since.
-- While it is built anew, the place of the verification's start has to do.
function deliveries.opt_out(values, verification, mirror)
  if not verification then return values end
  values.opted_out, values.pseudonym = '1', verification.pseudonym
  values.ledger = redis.call('HGET', mirror, 'sequence') or verification.ledger
  return values
end

-- Tells whether a gateway's report has decided what follows for a message: a further one, or nothing.
function deliveries.is_decided(key, message)
  return redis.call('HEXISTS', key, 'after' .. message) == 1
end

-- Notes a call that is about to be made, by the place of its job: should its worker die, that is what is known of it. `most` is
-- what it may cost, `held` what its slot holds.
function deliveries.open(calls, place, age, slot, max_cost, held)
  redis.call('HSET', calls, place, table.concat({ slot, string.format('%.0f', max_cost), held }, '|'))
  redis.call('PEXPIRE', calls, age)
end

-- Returns the identifier of the dispatch in a slot, which is given as a list; nil where no gateway was called.
function deliveries.id(values)
  return values[10] ~= '' and values[10] or nil
end

-- Tells the outcome of a call and what it cost. `held` is what its slot holds, as a list: a report may have been faster, and
-- outweigh it. `values` are what else the event tells.
function deliveries.report(events, verification, slot, outcome, reason, cost, held, values)
  values.status = (held[3] == outcome or held[3] == 'queued') and '' or held[3]
  values.slot, values.channel, values.gateway, values.choice = slot, held[1], held[2], held[6]
  values.dispatch = deliveries.id(held)
  values.reason, values.cost = reason, cost
  streams.report(events, 'delivery.' .. outcome, verification, values)
end

local function values_of(text)
  local values = {}
  for value in string.gmatch(text .. '|', '(.-)|') do values[#values + 1] = value end
  return values
end

-- Closes the call of a job, if it is that of a slot, or any. Returns the most that it may cost, what its slot held, and the
-- slot; nil when it is closed: its outcome was told.
function deliveries.close(calls, place, slot)
  local values = values_of(redis.call('HGET', calls, place) or '')
  if not values[2] or (slot and values[1] ~= slot) then return nil end
  redis.call('HDEL', calls, place)
  return values[2], { unpack(values, 3) }, values[1]
end

-- Writes an outcome unless it, or a later one, is there already: a receipt may overtake the gateway's answer, and
-- a terminal status is never undone; but what only its answer made us take for failed may be reported as delivered.
-- Returns what the slot holds now, as a list (nil when it holds nothing), and whether that is news. `raw` and
-- `reference` may be empty; then what is known of them stays.
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

-- Tells of the call that a worker left open for a job, since it died or was taken for dead: it may have been sent, nobody knows,
-- and may have cost the most that it could.
function deliveries.interrupt(key, events, calls, place, verification)
  local max_cost, held, slot = deliveries.close(calls, place)
  if not max_cost then return end
  held = deliveries.settle(key, slot, 'unknown', 'interrupted', '', '') or held
  deliveries.report(events, verification, slot, 'unknown', 'interrupted', max_cost, held, {})
end
