-- Puts a dead letter back into the outbox with a new budget of dispatches, if its message is still wanted.
-- include clock fence streams record deliveries
local verification = record.read(key.record, arg.application)
if not verification or #redis.call('XRANGE', key.dead_letters, arg.entry, arg.entry) == 0 then return reply.gone() end
local status = record.status(verification)
if status ~= 'pending' then return reply.unwanted { reason = status } end
if verification.generation ~= tonumber(arg.generation) then return reply.unwanted { reason = 'superseded' } end
if deliveries.has_arrived(key.record, arg.message) then return reply.unwanted { reason = 'sent' } end
if deliveries.is_decided(key.record, arg.message) then return reply.unwanted { reason = 'reported' } end
redis.call('HSET', key.record, 'from' .. arg.message, redis.call('HGET', key.record, 'n' .. arg.message) or 0)
streams.put_back(key.queue, key.queues, key.ready, key.wake, streams.fields({ unpack(ARGV, arg.rest) }))
redis.call('XDEL', key.dead_letters, arg.entry)
streams.report(key.events, 'message.redriven', verification, { message = arg.message })
return reply.redriven()
