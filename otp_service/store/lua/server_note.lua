-- Notes that the server was restarted, or that another took over: what was written last may be lost.
--
-- KEYS: the mirror's heads
-- ARGV[1] '1' where the mirror was just seen to be at the ledger's place, which is noted too
-- Returns: nothing
-- include clock mirror

for _, head in ipairs(KEYS) do
  mirror.server_since(head)
  if ARGV[1] == '1' then mirror.note_compared(head) end
end
