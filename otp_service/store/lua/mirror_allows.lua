-- Tells whether the mirror allows a message, by the keys of the record's number and basis (same hash tag).
-- include clock fence record mirror
local verification = record.read(key.record, arg.application)
if not verification then return 0 end
return mirror.refusal(key.mirror, arg.mirrored .. verification.pseudonym, verification, arg.identity, arg.min_sequence, arg.consent, verification.ledger) and 0 or 1
