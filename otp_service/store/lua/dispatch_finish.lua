-- Records the outcome of a message and what follows for its job: acknowledged and deleted in the same step.
-- include clock fence rows limits number subjects rule_hits spending streams record deliveries
local job, follows, called = { unpack(ARGV, arg.rest) }, arg.next, arg.gateway ~= ''
local verification, place = streams.fields(job), key.queue .. '/' .. arg.entry
if not called and not streams.is_held(key.queue, arg.group, arg.entry, arg.consumer) then return 'lease-lost' end
if not called then deliveries.interrupt(key.record, key.events, key.calls, place, verification) end
local _, through, reported = deliveries.parse(redis.call('HGET', key.record, arg.slot))
if called or through == '' then -- a worker that made no call knows nothing of an earlier call
  local status = reported == 'sent' and reported or arg.status -- a receipt outweighs what the answer made of it
  local stored, news = deliveries.settle(key.record, arg.slot, status, arg.reason, '', arg.reference)
  local price, at = spending.release(key.record, arg.slot)
  local money = price and subjects.read_money(key.application, key.country)
  if money then spending.settle(money, verification.country, tonumber(arg.cost) - price, at) end
  local open, held = deliveries.close(key.calls, place, arg.slot)
  if news or open then
    local values = { reference = arg.reference, template = arg.template }
    if arg.opted_out == '1' then deliveries.opt_out(values, record.read(key.record), key.mirror) end
    deliveries.report(key.events, verification, arg.slot, arg.status, arg.reason, arg.cost, stored or held, values)
  end
  local message, dispatch = string.match(arg.slot, '^d(%d+)%.(%d+)$')
  local repeated = called and tonumber(redis.call('HGET', key.record, 'n' .. message) or 0) > tonumber(dispatch)
  if repeated or not streams.is_held(key.queue, arg.group, arg.entry) then return 'lease-lost' end -- or the job has ended
  if stored and deliveries.has_arrived(key.record, message) then follows = 'done' end -- this call, or one before it
  if deliveries.is_decided(key.record, message) then follows = 'done' end
end
if follows == 'next' then return 'finished' end

if follows == 'retry' then
  local retry = cjson.encode(job)
  redis.call('ZADD', key.delayed, now + tonumber(arg.delay), retry)
  redis.call('PEXPIRE', key.delayed, arg.max_age)
  if redis.call('ZRANK', key.delayed, retry) == 0 then streams.wake(key.wake) end -- until now all wait for a later time
elseif follows == 'dead' then
  redis.call('XADD', key.dead_letters, 'MAXLEN', '~', arg.max_letters, '*', 'reason', arg.reason, unpack(job))
  redis.call('XTRIM', key.dead_letters, 'MINID', '~', now - arg.max_age)
  redis.call('PEXPIRE', key.dead_letters, arg.max_age) -- it has no consumer group that could be lost
  verification.reason = arg.reason
  streams.report(key.events, 'message.given_up', verification, verification)
end
redis.call('XACK', key.queue, arg.group, arg.entry)
redis.call('XDEL', key.queue, arg.entry)
return follows == arg.next and 'finished' or 'arrived'
