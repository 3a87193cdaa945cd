-- Reads a verification, and the time, by which a reader sees whether it has expired.
-- include clock fence record

return reply.verification_read { now = now, record = record.read_all(key.record) }
