-- Keeps the turn to build the mirror, or ends it, if it is still the builder's; another one may have taken it for dead.
--
-- KEYS[1] the mirror's head   KEYS[2] who builds   KEYS[3] and following: numbers to forget
-- ARGV[1] the builder   ARGV[2] milliseconds for which it keeps its turn; 0 to end it
-- ARGV[3] identity, ARGV[4] number, ARGV[5] entry and ARGV[6] link of the place in the ledger that the mirror is built of,
-- from now on to be relied on; not given while it is not
-- Returns: 1, or 0 when the turn is another one's
-- include clock mirror

if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if #KEYS > 2 then redis.call('UNLINK', unpack(KEYS, 3)) end -- here, where the turn is certain: another's must stay
if ARGV[3] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'identity', ARGV[3], 'sequence', ARGV[4], 'entry', ARGV[5], 'link', ARGV[6],
    'server', mirror.server_name(), 'since', now, 'since_of', ARGV[4])
end
redis.call('PEXPIRE', KEYS[2], ARGV[2]) -- 0 deletes it
return 1
