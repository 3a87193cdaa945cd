-- Stores an enrolment until its first code, unless too many wait. Equal requests with one idempotency key make one enrolment.
-- include clock idempotency mirror
local remembered = idempotency.find(key.idempotency, arg.fingerprint)
if remembered == 'mismatch' then return reply.mismatch() end
if remembered then return reply.enrol_replayed { factor = redis.call('HGET', key.idempotency, 'factor') } end

local ends = now + arg.life
for _, waiting in ipairs({
  { owner = 'user', key = key.of_user, max = arg.max_of_user },
  { owner = 'application', key = key.of_application, max = arg.max_of_application },
}) do
  local enrolments = waiting.key
  redis.call('ZREMRANGEBYSCORE', enrolments, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', enrolments, '(' .. ends, '+inf') -- of a clock that ran ahead
  if redis.call('ZCARD', enrolments) >= tonumber(waiting.max) then
    local first = redis.call('ZRANGE', enrolments, 0, 0, 'WITHSCORES')[2]
    return reply.enrolments_full { wait = first - now, owner = waiting.owner }
  end
end
for _, enrolments in ipairs({ key.of_user, key.of_application }) do
  redis.call('ZADD', enrolments, ends, arg.factor)
  redis.call('PEXPIRE', enrolments, arg.life)
end
-- An enrolment that was made during a freeze ends with its lift, as earlier ones.
local _, lifted = mirror.revoked({ application = arg.application, lifted = math.huge }, mirror.basis(key.mirrored))
redis.call('HSET', key.enrolment, 'factor', arg.packed, 'label', arg.label, 'lifted', lifted or 0)
redis.call('PEXPIRE', key.enrolment, arg.life)
if arg.fingerprint ~= '' then idempotency.remember(key.idempotency, arg.fingerprint, arg.remembered, 'factor', arg.factor) end
return reply.enrolled()
