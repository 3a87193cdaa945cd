-- Tells whether the mirror of the ledger lets a message of a verification go.
--
-- KEYS[1] the record   KEYS[2] the mirror's head
-- ARGV[1] application   ARGV[2] identity of the ledger   ARGV[3] place that it is known to have come to
-- ARGV[4] which consent is needed: recorded, off   ARGV[5] beginning of the keys of what the mirror says of numbers
-- Derives: what the mirror says of the number, from the record's pseudonym, and what else it rests on (same hash tag)
-- Returns: 1, or 0 when it does not, cannot tell now, or there is no such verification
-- include clock fence record mirror

local found = record.read(KEYS[1], ARGV[1])
if not found then return 0 end
return mirror.refusal(KEYS[2], ARGV[5] .. found.pseudonym, found, ARGV[2], ARGV[3], ARGV[4], found.ledger) and 0 or 1
