-- The outbox and the events. Streams are trimmed at each write and never expire: an expiry would take the
-- consumer group with it. `about` names a verification: id, application, purpose, country.
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

-- Puts a job into the outbox. It must not push out what was accepted before, however long the outbox is: that
-- is trimmed by age only.
function streams.put(outbox, age, ...)
  redis.call('XADD', outbox, 'MINID', '~', now - age, '*', ...)
end

-- Queues a message of a verification.
function streams.queue(outbox, age, about, channel, message, generation, expires)
  streams.put(outbox, age, 'v', '1', 'id', about.id, 'application', about.application, 'purpose', about.purpose,
    'country', about.country, 'channel', channel, 'message', message, 'generation', generation, 'expires', expires)
end
