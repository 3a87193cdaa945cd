-- Tells whether a server is the noted one, before a connection's (on a cluster: a bucket's) first call. A server that took over or was
-- restarted is fenced, unless it surely has all answered writes: otherwise used codes would work again.
-- include clock fencing mirror
-- Tells whether a server took over while it followed another, whose last writes it still holds; a server from an older copy lacks them.
local function followed(info)
  local function member(name) return tonumber(string.match(info, name .. ':(%-?%d+)')) end
  return member('repl_backlog_active') == 1 and member('repl_backlog_first_byte_offset') < member('second_repl_offset')
end

local info, places, fences, heads = redis.pcall('INFO', 'replication'), { unpack(KEYS, key.rest) }, {}, {}
if type(info) ~= 'string' then return reply.same() end -- a managed server may refuse it; `doctor` reports that
for i, place in ipairs(places) do table.insert(i <= #places / 2 and fences or heads, place) end
-- Another after a restart and after each fail-over, planned or not; the former one is that which it went on with when it took over.
local history, former = string.match(info, 'master_replid:(%x+)'), string.match(info, 'master_replid2:(%x+)')
local noted = redis.call('HMGET', key.server, 'history', 'shard', 'failover', 'undecided', 'replicas')
-- So many replicas have what was answered: the smallest number that any process waited for.
local replicas = math.min(tonumber(arg.replicas), tonumber(noted[5] or arg.replicas))
if noted[1] == history then
  if noted[5] ~= tostring(replicas) then redis.call('HSET', key.server, 'replicas', replicas) end
  return reply.same()
end

local shard = arg.is_cluster == '1' and redis.pcall('CLUSTER', 'MYSHARDID')
if type(shard) ~= 'string' then shard = false end -- refused: then each bucket that moves is fenced
-- A move from another shard (MIGRATESLOTS) loses nothing but what was undecided there.
local has_moved = noted[2] and noted[2] ~= shard and not noted[4]
local went_on = noted[1] and former == noted[1] and followed(info)
local is_whole = not noted[1] or has_moved or (went_on and former == arg.confirmed)
if not is_whole then
  local ends = tonumber(noted[3] or 0)
  if went_on and tonumber(arg.patience) > 0 then
    ends = math.max(ends, tonumber(noted[4] or now + arg.patience))
    redis.call('HSET', key.server, 'undecided', ends)
  end
  if ends > now then return reply.undecided { former = noted[1], history = history, replicas = replicas } end
end

redis.call('HSET', key.server, 'history', history, 'replicas', arg.replicas)
if shard then redis.call('HSET', key.server, 'shard', shard) end
redis.call('HDEL', key.server, 'failover', 'undecided')
if not is_whole then
  fencing.put(fences, tonumber(arg.life))
  return reply.fenced()
end
for _, head in ipairs(noted[1] and heads or {}) do
  if redis.call('HEXISTS', head, 'server') == 1 then redis.call('HSET', head, 'server', mirror.server_name()) end
end
return reply.same()
