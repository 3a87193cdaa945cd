-- Idempotency keys: the request and its answer.
local idempotency = {}

-- Returns nil for a new request or no key, 'mismatch' for another request, otherwise the remembered answer: field, value, …
function idempotency.find(key, fingerprint)
  if fingerprint == '' then return nil end
  local remembered = redis.call('HGETALL', key)
  if #remembered == 0 then return nil end
  for i = 1, #remembered, 2 do
    if remembered[i] == 'fingerprint' and remembered[i + 1] == fingerprint then return remembered end
  end
  return 'mismatch'
end

function idempotency.remember(key, fingerprint, milliseconds, ...)
  redis.call('HSET', key, 'fingerprint', fingerprint, ...)
  redis.call('PEXPIRE', key, milliseconds)
end

-- Remembers an answer for as long as its record.
function idempotency.remember_with(record, key, fingerprint, ...)
  if fingerprint ~= '' then idempotency.remember(key, fingerprint, redis.call('PTTL', record), ...) end
end
