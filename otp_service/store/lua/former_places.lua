-- Copies the mirror's head and the fence from where the release before has them, where its processes have brought them further.
--
-- KEYS[1] its head of the mirror   KEYS[2] its fence   then the heads of all buckets, and as many fences
-- Returns: nothing

local function place(head)
  local identity, sequence, closed = unpack(redis.call('HMGET', head, 'identity', 'sequence', 'closed'))
  return identity, tonumber(sequence or -1), closed
end

local function begun(fence) return tonumber(redis.call('HGET', fence, 'at') or 0) end

local buckets, identity, sequence, closed = (#KEYS - 2) / 2, place(KEYS[1])
for i = 3, 2 + buckets do
  local own, reached, own_closed = place(KEYS[i])
  if identity and (own ~= identity or reached < sequence or (closed and not own_closed)) then
    redis.call('COPY', KEYS[1], KEYS[i], 'REPLACE')
  end
  if begun(KEYS[i + buckets]) < begun(KEYS[2]) then redis.call('COPY', KEYS[2], KEYS[i + buckets], 'REPLACE') end
end
