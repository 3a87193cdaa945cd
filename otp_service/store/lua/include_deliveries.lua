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

-- Counts the calls for a message by what became of them, those up to the number `after` left out. `record` is the
-- record as a flat list.
function deliveries.tally(record, message, after)
  local tally = { sent = 0, delivered = 0, unknown = 0 }
  for i = 1, #record, 2 do
    local number, dispatch = string.match(record[i], '^d(%d+)%.(%d+)$')
    if number == message and tonumber(dispatch) > after then
      local _, _, status = deliveries.parts(record[i + 1])
      tally[status] = (tally[status] or 0) + 1
    end
  end
  return tally
end

-- Tells whether any call for a message brought it to a gateway.
function deliveries.arrived(key, message)
  local tally = deliveries.tally(redis.call('HGETALL', key), message, 0)
  return tally.sent + tally.delivered > 0
end

-- Returns the fields with which an event tells the ledger that a number's holder opted out at the gateway; else none.
-- `mirror` is the mirror's head: what was lifted after the place that it has come to is lifted since. While it is built
-- anew, the place of the verification's start has to do.
function deliveries.opt_out(key, mirror, told)
  if told ~= '1' then return end
  return 'opted_out', '1', 'pseudonym', redis.call('HGET', key, 'pseudonym'),
    'ledger', redis.call('HGET', mirror, 'sequence') or redis.call('HGET', key, 'ledger') or 0
end

-- Writes an outcome unless it, or a later one, is there already: a receipt may overtake the gateway's answer, and
-- a terminal status is never undone; but what only its answer made us take for failed may be reported as delivered.
-- Returns what the slot holds now, as a list (nil when it holds nothing), and whether that is news. `raw` and
-- `reference` may be empty; then what is known of them stays.
function deliveries.settle(key, slot, status, reason, raw, reference)
  local known = redis.call('HGET', key, slot) or ''
  local values = {}
  for value in string.gmatch(known .. '|', '(.-)|') do values[#values + 1] = value end
  local before = values[3]
  if not before then return nil, false end
  for i = 4, 9 do values[i] = values[i] or '' end -- an earlier format has fewer
  if reference ~= '' and values[9] ~= reference then -- learnt even when a receipt was faster
    values[9] = reference
    redis.call('HSET', key, slot, table.concat(values, '|'))
  end
  local wrong = before == 'failed' and values[8] == '' and status == 'delivered'
  if before == status or rank[status] < rank[before] then return values, false end
  if rank[before] == 3 and not wrong then return values, false end
  values[3], values[4], values[5] = status, now, reason
  if raw ~= '' then values[8] = raw end
  redis.call('HSET', key, slot, table.concat(values, '|'))
  return values, true
end
