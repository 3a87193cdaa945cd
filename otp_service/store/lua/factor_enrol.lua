-- Keeps an enrolment until its first code, unless too many wait. Of any number of equal requests with one idempotency key there is one.
--
-- KEYS[1] the enrolment   KEYS[2] idempotency key; the enrolment again when there is none
-- KEYS[3] the enrolments of the user   KEYS[4] those of the application   KEYS[5] what the mirror says of the user
-- ARGV[1] the factor, packed   ARGV[2] its sealed label   ARGV[3] milliseconds for which it waits
-- ARGV[4] idempotency fingerprint, empty without one   ARGV[5] milliseconds to remember it   ARGV[6] the factor's identifier
-- ARGV[7] enrolments of a user that may wait at once   ARGV[8] those of an application   ARGV[9] application
-- Returns one of: {'enrolled', now} {'replayed', identifier} {'mismatch'} {'full', milliseconds, whose: user, application}
-- include clock idempotency mirror

local remembered = idempotency.find(KEYS[2], ARGV[4])
if remembered == 'mismatch' then return { 'mismatch' } end
if remembered then return { 'replayed', redis.call('HGET', KEYS[2], 'factor') } end

local ends = now + ARGV[3]
for _, waiting in ipairs({ { 'user', KEYS[3], ARGV[7] }, { 'application', KEYS[4], ARGV[8] } }) do
  local whose, key, most = waiting[1], waiting[2], tonumber(waiting[3])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', key, '(' .. ends, '+inf') -- of a clock that ran ahead
  if redis.call('ZCARD', key) >= most then
    return { 'full', redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] - now, whose }
  end
end
for _, key in ipairs({ KEYS[3], KEYS[4] }) do
  redis.call('ZADD', key, ends, ARGV[6])
  redis.call('PEXPIRE', key, ARGV[3])
end
-- What is enrolled during a freeze is over with its lift, as what was enrolled before.
local _, lifted = mirror.revoked({ application = ARGV[9], lifted = math.huge }, mirror.basis(KEYS[5]))
redis.call('HSET', KEYS[1], 'factor', ARGV[1], 'label', ARGV[2], 'lifted', lifted or 0)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if ARGV[4] ~= '' then idempotency.remember(KEYS[2], ARGV[4], ARGV[5], 'factor', ARGV[6]) end
return { 'enrolled', now }
