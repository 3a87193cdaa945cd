-- Counts a message in subjects of one slot, where they have room for it, before the number's slot decides: there start.lua or
-- resend.lua is given what this returns.
--
-- KEYS[1] and following: subjects of the message, all in one slot
-- ARGV[1] how many more messages alike may be counted ahead of their coming
-- ARGV[2] and following: the message (see reserving.about)
-- Derives: the addresses that passed a human check, from the application (same hash tag)
-- Returns: what was found and counted, packed; where more were counted that, how many, and for how many milliseconds they may be used
-- include clock rows counters limits number subjects targets buckets conversions rule_hits spending failure_alarm
-- include approvals newcomers fraud findings guard reserving

local sending = reserving.about(unpack(ARGV, 2))
reserving.read(sending, { unpack(KEYS, 1) })
local told, ahead, life = reserving.reserve(sending, tonumber(ARGV[1]))
local packed = cmsgpack.pack({ at = now, groups = told })
return ahead > 0 and { packed, ahead, life } or packed
