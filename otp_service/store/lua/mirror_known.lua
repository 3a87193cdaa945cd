-- Reads the mirror's place in the ledger for a process that cannot reach the ledger.
-- include clock mirror
local places = {}
for i = key.rest, #KEYS do places[#places + 1] = mirror.compared_place(KEYS[i]) end
return reply.mirror_known { places = places }
