-- Reads the mirror's place in the ledger for a process that cannot ask the ledger.
--
-- KEYS: the mirror's heads
-- Returns: of each head {identity, number, entry, link}; {} where it was not seen to be at the ledger's place in this run of the
-- server, or is closed
-- include clock mirror

local places = {}
for i, head in ipairs(KEYS) do places[i] = mirror.compared_place(head) end
return places
