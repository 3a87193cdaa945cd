-- Takes back what reserve.lua counted in subjects of one slot: of a message that was refused, or was sent before, or of groups that the
-- number's reputation spares. What may have leaked meanwhile is not given back.
--
-- KEYS[1] and following: the subjects, as there
-- ARGV[1] what it returned   ARGV[2] groups that stay counted, with a blank before and behind each
-- ARGV[3] groups whose breakers stay as they were judged, for the number's slot has told of it, likewise
-- ARGV[4] 1 where the message was asked for a human check under suspicion: the traffic of newcomers counts that
-- ARGV[5] how many messages that it was found of
-- ARGV[6] and following: the message, as there
-- Derives: the tallies of the application, and the addresses that were asked for a human check, from its name (same hash tag)
-- Returns: OK
-- include clock rows counters limits number subjects targets buckets conversions rule_hits spending failure_alarm
-- include approvals newcomers fraud findings guard reserving

local told, sending = cmsgpack.unpack(ARGV[1]), reserving.about(unpack(ARGV, 6))
reserving.read(sending, { unpack(KEYS, 1) })
reserving.give_back(sending, told.groups, told.at, ARGV[2], ARGV[3], tonumber(ARGV[5]))
if ARGV[4] == '1' and sending.subjects.application then guard.tally_asked(sending) end
return 'OK'
