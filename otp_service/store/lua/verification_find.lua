-- Reads the newest verification of a number for a purpose, and the time, by which a reader sees whether it has expired.
--
-- KEYS[1] the number
-- ARGV[1] application   ARGV[2] purpose   ARGV[3] beginning of the keys of records
-- Derives: the records of the number's last verifications, from its state (same hash tag)
-- Returns: {now, identifier, record}; both empty for none
-- include clock fence limits number record

local state = number.read(KEYS[1], redis.call('GET', KEYS[1]), ARGV[1])
local found = record.newest(state, ARGV[3], ARGV[1], ARGV[2])
return { now, found and found.id or '', found and record.read_all(found.key) or {} }
