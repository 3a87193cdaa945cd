-- Fences the store: whatever was started before is expired from now on. A fence that stands already gives way to a new one.
--
-- KEYS: the places of the fence: of each bucket, and where the release before has it
-- ARGV[1] milliseconds that the fence is kept
-- Returns: the fence's name and beginning
-- include clock fencing

return fencing.put(KEYS, tonumber(ARGV[1]))
