-- Reads a number's newest verification for a purpose, and the time. The records come from the number's state (same hash tag).
-- include clock fence limits number record
local state = number.read(key.number, redis.call('GET', key.number), arg.application)
local verification = record.newest(state, arg.records, arg.application, arg.purpose)
if not verification then return reply.not_found() end
return reply.verification_found { now = now, id = verification.id, record = record.read_all(verification.key) }
