-- The outbox and the events. Streams never expire, for their consumer groups: the outbox is trimmed hourly by age (queues_sweep), events
-- once in the ledger (events.py). The outbox has a queue for each application, kind, country and channel, which workers take in turn.
local streams = {}
local MANY = 20 -- messages from which on their pace says how long one more will wait
local LEFT = 5 -- messages that must have left before there is a pace: one that leaves during an outage is none

-- Returns an entry by name: a field of JSON and others, or a field for each value.
function streams.fields(list)
  local fields = by_name(list)
  local readable, values = pcall(cjson.decode, fields.json or '')
  if not readable or type(values) ~= 'table' then return fields end
  for name, value in pairs(values) do fields[name] = value end
  return fields
end

-- Reports an event of a verification, with values that hold nothing personal but pseudonyms.
function streams.report(stream, event, verification, values)
  values = values or {}
  values.type, values.id, values.application = event, verification.id, verification.application
  values.purpose, values.country = verification.purpose, verification.country
  streams.add(stream, cjson.encode(values))
end

function streams.add(stream, json) redis.call('XADD', stream, '*', 'json', json) end

function streams.last_entry(stream)
  local entry = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  return entry and entry[1] or '0-0'
end

-- Puts a job, as JSON, into a queue, which never drops a job, and wakes a worker for an empty queue. `gone` is how many left before it came.
function streams.put(queue, queues, ready, wake, ahead, job)
  redis.call('XADD', queue, '*', 'gone', redis.call('HINCRBY', queues, queue, 1) - 1 - ahead, 'json', job)
  if redis.call('SADD', ready, queue) == 1 then streams.wake(wake) end
end

-- Puts a job back, as a table; its `gone` is of another queue.
function streams.put_back(queue, queues, ready, wake, job)
  job.gone = nil
  streams.put(queue, queues, ready, wake, redis.call('XLEN', queue), cjson.encode(job))
end

function streams.wake(wake)
  redis.call('LPUSH', wake, '')
  redis.call('LTRIM', wake, 0, 63)
  redis.call('PEXPIRE', wake, 60000)
end

-- Tells by its last second whether a queue is quick again, as after a time without a worker. `count` messages wait; `gone` have left, `first`
-- of them before the oldest came. A new worker has no pace yet.
local function moves_again(queue, count, first, gone, longest)
  local entry = redis.call('XREVRANGE', queue, now - 1000, '-', 'COUNT', 1)[1]
  local recent, since = tonumber(by_name(entry and entry[2] or {}).gone), entry and tonumber(string.match(entry[1], '^%d+'))
  if not recent or now - since > 2000 or gone - recent < LEFT then return false end -- refused starts leave no trace to go by
  local left, before = gone - recent, recent - first
  return before < left or (now - since) * count / (left - 1) < longest
end

-- Tells whether a queue is so long or slow that a new message would leave under a quarter of its code's life; and how many messages wait.
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

-- Tells whether a consumer still has a job; without a consumer, whether any has it.
function streams.is_held(queue, group, entry, ...)
  local pending = redis.pcall('XPENDING', queue, group, entry, entry, 1, ...)
  return not pending.err and #pending > 0
end
