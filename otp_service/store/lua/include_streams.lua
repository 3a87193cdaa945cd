-- The outbox and the events. Streams are trimmed at each write and never expire: an expiry would take the
-- consumer group with it. `about` names a verification: id, application, purpose, country.
--
-- The outbox has lanes, one for each application and kind of message, so that workers can take turns among them.
local streams = {}

-- Appends to a stream of reports: the oldest entries go when it is too long, or they are too old.
function streams.append(stream, length, age, ...)
  redis.call('XADD', stream, 'MAXLEN', '~', length, '*', ...)
  redis.call('XTRIM', stream, 'MINID', '~', now - age)
end

-- Reports what happened to a verification, without personal data.
function streams.report(stream, length, age, event, about, ...)
  streams.append(stream, length, age, 'type', event, 'id', about.id, 'application', about.application,
    'purpose', about.purpose, 'country', about.country, ...)
end

-- Puts a job into a lane, and the lane's name on the list by which workers find it. It must not push out what was
-- accepted before, however long the lane is: that is trimmed by age only.
function streams.put(lane, lanes, age, ...)
  redis.call('SADD', lanes, lane)
  redis.call('XADD', lane, 'MINID', '~', now - age, '*', ...)
end

-- Queues a message of a verification.
function streams.queue(lane, lanes, age, about, channel, message, generation, expires)
  streams.put(lane, lanes, age, 'v', '1', 'id', about.id, 'application', about.application, 'purpose', about.purpose,
    'country', about.country, 'channel', channel, 'message', message, 'generation', generation, 'expires', expires)
end

-- Tells whether a lane is so long, or its oldest job has waited so long (milliseconds), that one more message would
-- not arrive while its code is worth anything.
function streams.full(lane, length, life)
  if redis.call('XLEN', lane) >= tonumber(length) then return true end
  local oldest = redis.call('XRANGE', lane, '-', '+', 'COUNT', 1)[1]
  return oldest and now - tonumber(string.match(oldest[1], '^%d+')) >= tonumber(life)
end

-- Returns a job, kept as name, value, …, as a table by name.
function streams.fields(job)
  local fields = {}
  for i = 1, #job, 2 do fields[job[i]] = job[i + 1] end
  return fields
end
