-- Keeps an enrolment until its first code. Of any number of equal requests with one idempotency key there is one.
--
-- KEYS[1] the enrolment   KEYS[2] idempotency key; the enrolment again when there is none
-- ARGV[1] the factor, packed   ARGV[2] its sealed label   ARGV[3] milliseconds for which it waits
-- ARGV[4] idempotency fingerprint, empty without one   ARGV[5] milliseconds to remember it   ARGV[6] the factor's identifier
-- Returns one of: {'enrolled', now} {'replayed', identifier} {'mismatch'}
-- include clock idempotency

local remembered = idempotency.find(KEYS[2], ARGV[4])
if remembered == 'mismatch' then return { 'mismatch' } end
if remembered then return { 'replayed', redis.call('HGET', KEYS[2], 'factor') } end
redis.call('HSET', KEYS[1], 'factor', ARGV[1], 'label', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if ARGV[4] ~= '' then idempotency.remember(KEYS[2], ARGV[4], ARGV[5], 'factor', ARGV[6]) end
return { 'enrolled', now }
