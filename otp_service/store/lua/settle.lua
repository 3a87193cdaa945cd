-- Records what became of a message, and what follows for its job: acknowledged and deleted in the same step.
--
-- KEYS[1] the record    KEYS[2] lane of the outbox   KEYS[3] delayed
-- KEYS[4] dead letters  KEYS[5] events
-- ARGV[1] slot of the outcome in the record, empty when there is none
-- ARGV[2] status        ARGV[3] reason, may be empty
-- ARGV[4] gateway       ARGV[5] its reference, may be empty
-- ARGV[6] what follows: 'done', 'next' (another dispatch at once), 'retry', 'dead'
-- ARGV[7] consumer group   ARGV[8] entry in the lane
-- ARGV[9] delay of a retry in milliseconds
-- ARGV[10] greatest length of dead letters and of events   ARGV[11] their greatest age in milliseconds
-- ARGV[12] and following: the job as it goes on, name, value, …
-- Returns one of: {'settled'} {'overtaken'} (another worker has the job by now: nothing follows here)
-- include clock streams deliveries

local job = { unpack(ARGV, 12) }
if ARGV[1] ~= '' then
  local kept = deliveries.settle(KEYS[1], ARGV[1], ARGV[2], ARGV[3], '', ARGV[5])
  if kept then
    streams.report(KEYS[5], ARGV[10], ARGV[11], 'delivery.' .. ARGV[2], streams.fields(job), 'slot', ARGV[1],
      'channel', kept[1], 'gateway', ARGV[4], 'choice', kept[6], 'reason', ARGV[3], 'reference', ARGV[5])
  end
  local message, dispatch = string.match(ARGV[1], '^d(%d+)%.(%d+)$')
  local overtaken = tonumber(redis.call('HGET', KEYS[1], 'n' .. message) or 0) > tonumber(dispatch)
  if overtaken then return { 'overtaken' } end
end
if ARGV[6] == 'next' then return { 'settled' } end

if ARGV[6] == 'retry' then
  redis.call('ZADD', KEYS[3], now + tonumber(ARGV[9]), cjson.encode(job))
  redis.call('PEXPIRE', KEYS[3], ARGV[11])
elseif ARGV[6] == 'dead' then
  streams.append(KEYS[4], ARGV[10], ARGV[11], 'reason', ARGV[3], unpack(job))
  redis.call('PEXPIRE', KEYS[4], ARGV[11]) -- it has no consumer group that could be lost
  streams.append(KEYS[5], ARGV[10], ARGV[11], 'type', 'message.given_up', 'reason', ARGV[3], unpack(job))
end
redis.call('XACK', KEYS[2], ARGV[7], ARGV[8])
redis.call('XDEL', KEYS[2], ARGV[8])
return { 'settled' }
