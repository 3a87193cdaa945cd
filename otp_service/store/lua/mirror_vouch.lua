-- Opens the mirror in a store that was restored: the ledger was not.
-- include clock mirror
for i = key.rest, #KEYS do mirror.vouch(KEYS[i], arg.fence) end
