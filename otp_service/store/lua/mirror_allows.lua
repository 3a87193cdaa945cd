-- Tells whether the mirror of the ledger lets a message of a verification go, by the keys of the record's number and of its
-- basis (same hash tag).
-- include clock fence record mirror

local verification = record.read(key.record, arg.application)
if not verification then return 0 end
return mirror.refusal(key.mirror, arg.mirrored .. verification.pseudonym, verification, arg.identity, arg.min_sequence, arg.consent, verification.ledger) and 0 or 1
