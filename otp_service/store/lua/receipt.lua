-- Records a gateway's later report on a dispatch. It never approves anything. The record comes from the dispatch (same hash
-- tag).
-- include clock fence streams record deliveries

local dispatch = redis.call('HMGET', key.dispatch, 'record', 'slot', 'gateway', 'trace')
if not dispatch[1] or dispatch[3] ~= arg.gateway then return reply.not_found() end
local about = record.read(dispatch[1])
if not about then return reply.not_found() end
if arg.is_last == '1' then redis.call('HSETNX', dispatch[1], 'after' .. string.match(dispatch[2], '^d(%d+)'), 0) end
local kept, news = deliveries.settle(dispatch[1], dispatch[2], arg.status, arg.reason, arg.raw_status, '')
local values = { slot = dispatch[2], gateway = arg.gateway, dispatch = string.match(key.dispatch, '[^:]+$') }
if arg.opted_out == '1' then deliveries.opt_out(values, about, key.mirror) end
if news then
  if arg.refunded == '1' then values.cost = '0' end
  values.channel, values.choice, values.reason, values.raw_status = kept[1], kept[6], arg.reason, arg.raw_status
  streams.report(key.events, 'delivery.' .. arg.status, about, values)
elseif arg.opted_out == '1' then -- a second report may be the one that tells it
  streams.report(key.events, 'delivery.opted_out', about, values)
end
return reply.receipt_read { recorded = news and 1 or 0, slot = dispatch[2], now = now, id = about.id,
  record = record.read_all(dispatch[1]), trace = dispatch[4] or '' }
