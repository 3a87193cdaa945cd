-- Records what became of a message, and what follows for its job: acknowledged and deleted in the same step.
--
-- KEYS[1] the record    KEYS[2] queue of the outbox   KEYS[3] delayed
-- KEYS[4] dead letters  KEYS[5] events                  KEYS[6] the mirror's head
-- KEYS[7] calls that are under way   KEYS[8] application   KEYS[9] country
-- ARGV[1] slot of the outcome in the record, empty when there is none
-- ARGV[2] status        ARGV[3] reason, may be empty
-- ARGV[4] gateway, empty when none was called                ARGV[5] its reference, may be empty
-- ARGV[6] what follows: 'done', 'next' (another dispatch at once), 'retry', 'dead'
-- ARGV[7] consumer group   ARGV[8] entry in the queue   ARGV[9] consumer
-- ARGV[10] delay of a retry in milliseconds
-- ARGV[11] greatest length of the dead letters   ARGV[12] their greatest age in milliseconds
-- ARGV[13] what the call cost in millionths
-- ARGV[14] '1' when the number's holder told the gateway that they want none
-- ARGV[15] of which template the message was made, may be empty
-- ARGV[16] and following: the job as it goes on, name, value, …
-- Returns one of: {'finished'} {'arrived'} (a receipt was faster: nothing more is sent of this message)
--                 {'lease-lost'} (another worker has the job by now: nothing follows here)
-- include clock fence rows limits number subjects rule_hits spending streams record deliveries

local job, follows, called = { unpack(ARGV, 16) }, ARGV[6], ARGV[4] ~= ''
local about, place = streams.fields(job), KEYS[2] .. '/' .. ARGV[8]
if not called and not streams.is_held(KEYS[2], ARGV[7], ARGV[8], ARGV[9]) then return { 'lease-lost' } end
if not called then deliveries.interrupt(KEYS[1], KEYS[5], KEYS[7], place, about) end
local _, through, told = deliveries.parse(redis.call('HGET', KEYS[1], ARGV[1]))
if called or through == '' then -- who made no call says nothing of one that was made
  local status = told == 'sent' and told or ARGV[2] -- a receipt outweighs what the answer made of it
  local kept, news = deliveries.settle(KEYS[1], ARGV[1], status, ARGV[3], '', ARGV[5])
  local price, at = spending.release(KEYS[1], ARGV[1])
  local money = price and subjects.read_money(KEYS[8], KEYS[9])
  if money then
    spending.settle(money, about.country, tonumber(ARGV[13]) - price, at)
  end
  local open, held = deliveries.close(KEYS[7], place, ARGV[1])
  if news or open then
    local values = { reference = ARGV[5], template = ARGV[15] }
    if ARGV[14] == '1' then deliveries.opt_out(values, record.read(KEYS[1]), KEYS[6]) end
    deliveries.report(KEYS[5], about, ARGV[1], ARGV[2], ARGV[3], ARGV[13], kept or held, values)
  end
  local message, dispatch = string.match(ARGV[1], '^d(%d+)%.(%d+)$')
  local repeated = called and tonumber(redis.call('HGET', KEYS[1], 'n' .. message) or 0) > tonumber(dispatch)
  if repeated or not streams.is_held(KEYS[2], ARGV[7], ARGV[8]) then return { 'lease-lost' } end -- or brought to an end
  if kept and deliveries.has_arrived(KEYS[1], message) then follows = 'done' end -- this call, or one before it
  if deliveries.is_decided(KEYS[1], message) then follows = 'done' end
end
if follows == 'next' then return { 'finished' } end

if follows == 'retry' then
  redis.call('ZADD', KEYS[3], now + tonumber(ARGV[10]), cjson.encode(job))
  redis.call('PEXPIRE', KEYS[3], ARGV[12])
elseif follows == 'dead' then
  streams.append(KEYS[4], ARGV[11], ARGV[12], 'reason', ARGV[3], unpack(job))
  redis.call('PEXPIRE', KEYS[4], ARGV[12]) -- it has no consumer group that could be lost
  about.reason = ARGV[3]
  streams.report(KEYS[5], 'message.given_up', about, about)
end
redis.call('XACK', KEYS[2], ARGV[7], ARGV[8])
redis.call('XDEL', KEYS[2], ARGV[8])
return { follows == ARGV[6] and 'finished' or 'arrived' }
