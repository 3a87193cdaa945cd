-- Keeps or ends the turn to build the mirror, if the builder still has it.
-- include clock mirror
local builders_at, forgotten_at = key.rest + arg.heads, key.rest + 2 * arg.heads
local builders, forgotten = { unpack(KEYS, builders_at, forgotten_at - 1) }, { unpack(KEYS, forgotten_at) }
for _, builder in ipairs(builders) do
  if redis.call('GET', builder) ~= arg.builder then return 0 end
end
if #forgotten > 0 then redis.call('UNLINK', unpack(forgotten)) end -- here, where the turn is certain
for i = key.rest, arg.identity ~= '' and builders_at - 1 or 0 do
  redis.call('DEL', KEYS[i])
  redis.call('HSET', KEYS[i], 'identity', arg.identity, 'sequence', arg.sequence, 'entry', arg.entry, 'link', arg.link,
    'server', mirror.server_name(), 'since', now, 'since_of', arg.sequence)
end
for _, builder in ipairs(builders) do redis.call('PEXPIRE', builder, arg.life) end -- 0 deletes it
return 1
