-- Records a gateway's later report on a dispatch, which approves nothing. The record comes from the dispatch (same hash tag).
-- include clock fence streams record deliveries
local dispatch = redis.call('HMGET', key.dispatch, 'record', 'slot', 'gateway', 'trace')
if not dispatch[1] or dispatch[3] ~= arg.gateway then return reply.not_found() end
local verification = record.read(dispatch[1])
if not verification then return reply.not_found() end
if arg.is_last == '1' then redis.call('HSETNX', dispatch[1], 'after' .. string.match(dispatch[2], '^d(%d+)'), 0) end
local stored, news = deliveries.settle(dispatch[1], dispatch[2], arg.status, arg.reason, arg.raw_status, '')
local values = { slot = dispatch[2], gateway = arg.gateway, dispatch = string.match(key.dispatch, '[^:]+$') }
if arg.opted_out == '1' then deliveries.opt_out(values, verification, key.mirror) end
if news then
  if arg.refunded == '1' then values.cost = '0' end
  values.channel, values.choice, values.reason, values.raw_status = stored[1], stored[6], arg.reason, arg.raw_status
  streams.report(key.events, 'delivery.' .. arg.status, verification, values)
elseif arg.opted_out == '1' then -- a second report may be the one that tells it
  streams.report(key.events, 'delivery.opted_out', verification, values)
end
return reply.receipt_read { recorded = news and 1 or 0, slot = dispatch[2], now = now, id = verification.id,
  record = record.read_all(dispatch[1]), trace = dispatch[4] or '' }
