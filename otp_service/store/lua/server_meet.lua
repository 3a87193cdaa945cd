-- Tells whether a server is the one that is noted, before anything else is asked of it. One that took over, or was restarted, is
-- fenced, unless it is known to have all that was answered: else codes that were used work again, and wrong ones are free. Each new
-- connection calls it; on a cluster each calls it for a bucket, before it asks for anything of that.
--
-- KEYS[1] what is noted of the server: the installation, on a cluster the bucket's
-- KEYS[2] and following: the places of the fence, as `fence_put` takes them; then as many heads of the mirror
-- ARGV[1] as `fence_put` takes it   ARGV[2] the history that the server has all of that was answered, empty where that is not known
-- ARGV[3] milliseconds within which whoever meets a server that took over may find that out; 0 where nobody can
-- ARGV[4] 1 on a cluster   ARGV[5] how many replicas whoever meets it waits for
-- Returns one of: {'same'} {'fenced'} {'undecided', the history that it went on with, its own, how many replicas had what was answered}:
-- to be found out, or a planned fail-over that nobody has confirmed yet; others wait
-- include clock fencing mirror

-- Tells whether a server took over while it followed another: it still holds some of what that sent it. One that was started from a
-- copy names the history that the copy is of, and lacks what came later.
local function followed(info)
  local function member(name) return tonumber(string.match(info, name .. ':(%-?%d+)')) end
  return member('repl_backlog_active') == 1 and member('repl_backlog_first_byte_offset') < member('second_repl_offset')
end

local info, places, fences, heads = redis.call('INFO', 'replication'), { unpack(KEYS, 2) }, {}, {}
for i, place in ipairs(places) do table.insert(i <= #places / 2 and fences or heads, place) end
-- Another after a restart and after each fail-over, planned or not; the former one is that which it went on with when it took over.
local history, former = string.match(info, 'master_replid:(%x+)'), string.match(info, 'master_replid2:(%x+)')
local kept = redis.call('HMGET', KEYS[1], 'history', 'shard', 'failover', 'undecided', 'replicas')
-- The smallest number of replicas that any process waited for since this server is the primary: so many have what was answered.
local replicas = math.min(tonumber(ARGV[5]), tonumber(kept[5] or ARGV[5]))
if kept[1] == history then
  if kept[5] ~= tostring(replicas) then redis.call('HSET', KEYS[1], 'replicas', replicas) end
  return { 'same' }
end

local shard = ARGV[4] == '1' and redis.call('CLUSTER', 'MYSHARDID')
-- It came from another shard (MIGRATESLOTS), and that loses nothing; but what was not decided there is lost.
local has_moved = kept[2] and kept[2] ~= shard and not kept[4]
local went_on = kept[1] and former == kept[1] and followed(info)
local is_whole = not kept[1] or has_moved or (went_on and former == ARGV[2])
if not is_whole then
  local ends = tonumber(kept[3] or 0)
  if went_on and tonumber(ARGV[3]) > 0 then
    ends = math.max(ends, tonumber(kept[4] or now + ARGV[3]))
    redis.call('HSET', KEYS[1], 'undecided', ends)
  end
  if ends > now then return { 'undecided', kept[1], history, replicas } end
end

redis.call('HSET', KEYS[1], 'history', history, 'replicas', ARGV[5])
if shard then redis.call('HSET', KEYS[1], 'shard', shard) end
redis.call('HDEL', KEYS[1], 'failover', 'undecided')
if not is_whole then
  fencing.put(fences, tonumber(ARGV[1]))
  return { 'fenced' }
end
for _, head in ipairs(kept[1] and heads or {}) do mirror.go_on(head) end
return { 'same' }
