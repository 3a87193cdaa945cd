-- Streams are trimmed at each write, by age and by length, and never expire: an expiry would take the
-- consumer group with it.
local streams = {}

-- Reports: the oldest entries go when the stream is too long.
function streams.append(stream, length, age, ...)
  redis.call('XADD', stream, 'MAXLEN', '~', length, '*', ...)
  redis.call('XTRIM', stream, 'MINID', '~', now - age)
end

-- Queues what was accepted: it must not push out what was accepted before, however long the stream is.
function streams.queue(stream, age, ...)
  redis.call('XADD', stream, 'MINID', '~', now - age, '*', ...)
end
