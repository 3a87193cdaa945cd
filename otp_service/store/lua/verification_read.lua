-- Reads a verification, and the time, by which a reader sees whether it has expired.
--
-- KEYS[1] the record
-- Returns: {now, record}
-- include clock fence record

return { now, record.read_all(KEYS[1]) }
