-- What an idempotency key remembers: which request it stood for, and how that was answered.
local idempotency = {}

-- Returns nil for a request that is new (or has no key), 'mismatch' when the key stood for another one, and
-- otherwise what was remembered: field, value, …
function idempotency.find(key, fingerprint)
  if fingerprint == '' then return nil end
  local remembered = redis.call('HGETALL', key)
  if #remembered == 0 then return nil end
  for i = 1, #remembered, 2 do
    if remembered[i] == 'fingerprint' and remembered[i + 1] == fingerprint then return remembered end
  end
  return 'mismatch'
end

-- Remembers an answer (field, value, …) for a time in milliseconds.
function idempotency.remember(key, fingerprint, milliseconds, ...)
  redis.call('HSET', key, 'fingerprint', fingerprint, ...)
  redis.call('PEXPIRE', key, milliseconds)
end

-- Remembers an answer for as long as the record that it is about.
function idempotency.remember_with(record, key, fingerprint, ...)
  if fingerprint ~= '' then idempotency.remember(key, fingerprint, redis.call('PTTL', record), ...) end
end
