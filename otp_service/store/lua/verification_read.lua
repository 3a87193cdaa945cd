-- Reads a verification, and the time, by which it has expired or not.
-- include clock fence record
return reply.verification_read { now = now, record = record.read_all(key.record) }
