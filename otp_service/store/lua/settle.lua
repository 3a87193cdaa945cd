-- Records what became of a message, and what follows for its job: acknowledged and deleted in the same step.
--
-- KEYS[1] the record    KEYS[2] the dispatch   KEYS[3] outbox
-- KEYS[4] delayed       KEYS[5] dead letters   KEYS[6] events
-- ARGV[1] slot of the outcome in the record, empty when there is none
-- ARGV[2] status        ARGV[3] reason, may be empty   ARGV[4] the gateway's reference, may be empty
-- ARGV[5] what follows: 'done', 'next' (another dispatch at once), 'retry', 'dead'
-- ARGV[6] consumer group   ARGV[7] entry in the outbox
-- ARGV[8] delay of a retry in milliseconds
-- ARGV[9] greatest length of dead letters and of events   ARGV[10] their greatest age in milliseconds
-- ARGV[11] and following: the job, name, value, …
-- Returns one of: {'settled'} {'overtaken'} (another worker has the job by now: nothing follows here)
-- include clock streams deliveries

if ARGV[1] ~= '' then
  deliveries.settle(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
  if ARGV[4] ~= '' and redis.call('EXISTS', KEYS[2]) == 1 then redis.call('HSET', KEYS[2], 'reference', ARGV[4]) end
  local message, dispatch = string.match(ARGV[1], '^d(%d+)%.(%d+)$')
  local overtaken = tonumber(redis.call('HGET', KEYS[1], 'n' .. message) or 0) > tonumber(dispatch)
  if overtaken then return { 'overtaken' } end
end
if ARGV[5] == 'next' then return { 'settled' } end

local job = { unpack(ARGV, 11) }
if ARGV[5] == 'retry' then
  redis.call('ZADD', KEYS[4], now + tonumber(ARGV[8]), cjson.encode(job))
  redis.call('PEXPIRE', KEYS[4], ARGV[10])
elseif ARGV[5] == 'dead' then
  streams.append(KEYS[5], ARGV[9], ARGV[10], 'reason', ARGV[3], unpack(job))
  redis.call('PEXPIRE', KEYS[5], ARGV[10]) -- it has no consumer group that could be lost
  streams.append(KEYS[6], ARGV[9], ARGV[10], 'type', 'message.given_up', 'reason', ARGV[3], unpack(job))
end
redis.call('XACK', KEYS[3], ARGV[6], ARGV[7])
redis.call('XDEL', KEYS[3], ARGV[7])
return { 'settled' }
