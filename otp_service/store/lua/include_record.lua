-- The verification's record, for scripts that find it as it is.
local record = {}

-- Returns the identifier that a record's key ends with.
function record.id(key)
  return string.match(key, '[^:]+$')
end

-- Returns the fields asked for as a table by name, always with its identifier, application, purpose, country,
-- status, expiry (that of before a fence is over) and the key of its start; nil when there is no record of this application.
function record.read(key, application, ...)
  local names = { 'application', 'purpose', 'country', 'status', 'expires', 'fence', 'start', ... }
  local values = redis.call('HMGET', key, unpack(names))
  if values[1] ~= application then return nil end
  local fields = { id = record.id(key) }
  for i, name in ipairs(names) do fields[name] = values[i] end
  fields.expires = fence.expiry(fields.expires, fields.fence)
  return fields
end

-- Returns all of it as a flat list, as it is handed out; empty when there is none.
function record.read_all(key)
  return fence.apply(redis.call('HGETALL', key))
end

-- Makes a verification final: the number goes, and the start's idempotency key learns the outcome, since it
-- outlives the record.
function record.finish(key, start, status)
  redis.call('HSET', key, 'status', status)
  redis.call('HDEL', key, 'destination')
  if start and redis.call('EXISTS', start) == 1 then redis.call('HSET', start, 'status', status) end
end
