-- Keeps the turn to build the mirror, or ends it, if it is still the builder's; another one may have taken it for dead.
--
-- KEYS: the mirror's heads; as many keys of who builds; then what is to be forgotten
-- ARGV[1] the builder   ARGV[2] how many heads there are   ARGV[3] milliseconds for which it keeps its turn; 0 to end it
-- ARGV[4] identity, ARGV[5] number, ARGV[6] entry and ARGV[7] link of the place in the ledger that the mirror is built of,
-- from now on to be relied on; not given while it is not
-- Returns: 1, or 0 when the turn is another one's
-- include clock mirror

local heads = tonumber(ARGV[2])
local builders, forgotten = { unpack(KEYS, heads + 1, 2 * heads) }, { unpack(KEYS, 2 * heads + 1) }
for _, builder in ipairs(builders) do
  if redis.call('GET', builder) ~= ARGV[1] then return 0 end
end
if #forgotten > 0 then redis.call('UNLINK', unpack(forgotten)) end -- here, where the turn is certain: another's must stay
for i = 1, ARGV[4] and heads or 0 do
  redis.call('DEL', KEYS[i])
  redis.call('HSET', KEYS[i], 'identity', ARGV[4], 'sequence', ARGV[5], 'entry', ARGV[6], 'link', ARGV[7],
    'server', mirror.server_name(), 'since', now, 'since_of', ARGV[5])
end
for _, builder in ipairs(builders) do redis.call('PEXPIRE', builder, ARGV[3]) end -- 0 deletes it
return 1
