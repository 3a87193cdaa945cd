-- Opens the mirror in a store that was restored: the ledger was not.
--
-- KEYS: the mirror's heads
-- ARGV[1] the fence behind which it was restored
-- Returns: nothing
-- include clock mirror

for _, head in ipairs(KEYS) do mirror.vouch(head, ARGV[1]) end
