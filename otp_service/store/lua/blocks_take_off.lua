-- Takes newcomers who approved off those of their blocks who did not, in the hour of their starts.
--
-- KEYS[1] those of the hour   ARGV[1] for how many milliseconds it is kept
-- ARGV[2] and following: block, country and carrier range of each, with slashes between
-- Returns: OK

for _, member in ipairs({ unpack(ARGV, 2) }) do redis.call('ZINCRBY', KEYS[1], -1, member) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'OK'
