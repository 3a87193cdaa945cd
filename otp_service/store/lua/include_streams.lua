-- The outbox and the events. Streams never expire: an expiry would take the consumer group with it. The outbox is trimmed
-- by age hourly (queues_sweep), the events by whoever records them (events.py): none goes that is not in the ledger. `about`
-- names a verification: id, application, purpose, country.
--
-- The outbox has queues, so that workers can take turns among them: one for each application, kind of message, country
-- and channel.
local streams = {}
local MANY = 20 -- messages from which on their pace says how long one more will wait
local LEFT = 5 -- messages that must have left before there is a pace: one that leaves during an outage is none

-- Returns what an entry holds as a table by name: one field of JSON, and others; or a field for each value.
function streams.fields(list)
  local fields = by_name(list)
  local readable, values = pcall(cjson.decode, fields.json or '')
  if not readable or type(values) ~= 'table' then return fields end
  for name, value in pairs(values) do fields[name] = value end
  return fields
end

-- Appends to a stream of letters: the oldest entries go when it is too long, or they are too old.
function streams.append(stream, length, age, ...)
  redis.call('XADD', stream, 'MAXLEN', '~', length, '*', ...)
  redis.call('XTRIM', stream, 'MINID', '~', now - age)
end

-- Reports what happened to a verification, and some values, without personal data but for pseudonyms.
function streams.report(stream, event, verification, values)
  values = values or {}
  values.type, values.id, values.application = event, verification.id, verification.application
  values.purpose, values.country = verification.purpose, verification.country
  streams.add(stream, cjson.encode(values))
end

-- Adds an event, as JSON.
function streams.add(stream, json)
  redis.call('XADD', stream, '*', 'json', json)
end

-- Returns the name of a stream's last entry.
function streams.last_entry(stream)
  local entry = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  return entry and entry[1] or '0-0'
end

-- Puts a job into a queue, and wakes a worker when nothing else waited there. It pushes out nothing that was accepted
-- before, however long the queue is. `queues`, `ready` and `wake` are keys (see keys.py).
-- A job, as JSON, knows how many had come and `gone` before it.
function streams.put(queue, queues, ready, wake, ahead, job)
  redis.call('XADD', queue, '*', 'gone', redis.call('HINCRBY', queues, queue, 1) - 1 - ahead, 'json', job)
  if redis.call('SADD', ready, queue) == 1 then streams.wake(wake) end
end

-- Puts a job back, as a table by name: what it knows of those before it is of another queue.
function streams.put_back(queue, queues, ready, wake, job)
  job.gone = nil
  streams.put(queue, queues, ready, wake, redis.call('XLEN', queue), cjson.encode(job))
end

-- Wakes a worker that has nothing to do.
function streams.wake(wake)
  redis.call('LPUSH', wake, '')
  redis.call('LTRIM', wake, 0, 63)
  redis.call('PEXPIRE', wake, 60000)
end

-- Tells whether a queue moves quickly enough again, as after a time without a worker, by its pace in the last second; a worker that has
-- just begun has none yet. `count` messages wait; `gone` have left the queue, `first` of them before the oldest that waits came.
local function moves_again(queue, count, first, gone, longest)
  local entry = redis.call('XREVRANGE', queue, now - 1000, '-', 'COUNT', 1)[1]
  local recent, since = tonumber(by_name(entry and entry[2] or {}).gone), entry and tonumber(string.match(entry[1], '^%d+'))
  if not recent or now - since > 2000 or gone - recent < LEFT then return false end -- refused starts leave no trace to go by
  local left, before = gone - recent, recent - first
  return before < left or (now - since) * count / (left - 1) < longest
end

-- Tells whether a queue is so long, or moves so slowly, that one more message would come when less than a quarter of its
-- code's life (milliseconds) is left to read and type the code. Returns also how many messages there are.
function streams.is_full(queue, queues, length, life)
  local count, longest = redis.call('XLEN', queue), 0.75 * life
  if count >= length then return true, count end
  if count == 0 then return false, count end
  local least = count >= MANY and longest * LEFT / count or longest -- a younger message tells of no such wait
  local oldest = redis.call('XRANGE', queue, '-', math.floor(now - least), 'COUNT', 1)[1]
  if not oldest then return false, count end
  local wait, job = now - tonumber(string.match(oldest[1], '^%d+')), by_name(oldest[2])
  if wait >= longest then return true, count end
  if not job.gone then return false, count end
  local gone = redis.call('HGET', queues, queue) - count
  local left = gone - job.gone -- since the oldest one came: their pace is what counts
  local slow = left >= LEFT and wait * count / left >= longest
  return slow and not moves_again(queue, count, tonumber(job.gone), gone, longest), count
end

-- Tells whether a consumer still has a job, nobody else has claimed it meanwhile; or, without a consumer, whether anybody
-- has it: it was not brought to an end.
function streams.is_held(queue, group, entry, ...)
  local pending = redis.pcall('XPENDING', queue, group, entry, entry, 1, ...)
  return not pending.err and #pending > 0
end
