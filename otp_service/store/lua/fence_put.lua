-- Fences the store: whatever was started before is expired from now on, and for some time fewer messages may be sent. A
-- fence that stands already gives way to a new one.
--
-- KEYS: the places of the fence: of each bucket, and where the release before has it
-- ARGV[1] milliseconds for which fewer messages may be sent   ARGV[2] milliseconds that the fence is kept
-- Returns: {now, the fence's name and beginning, until when fewer messages may be sent}
-- include clock fencing

return fencing.put(KEYS, tonumber(ARGV[1]), tonumber(ARGV[2]))
