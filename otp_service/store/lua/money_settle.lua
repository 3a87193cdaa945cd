-- Corrects what was reserved for a call by what it cost, where application and country are in another slot than its record.
--
-- KEYS[1] and following: application and country   ARGV[1] the country's code   ARGV[2] what it cost more, or less, in millionths
-- ARGV[3] when it was reserved
-- Returns: OK
-- include clock rows limits number subjects rule_hits spending

spending.settle(subjects.read_money(KEYS, 1), ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]))
return 'OK'
