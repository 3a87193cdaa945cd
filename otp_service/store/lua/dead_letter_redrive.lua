-- Puts a dead letter back into the outbox, if its message is still wanted, with a new budget of dispatches.
--
-- KEYS[1] dead letters   KEYS[2] the record   KEYS[3] queue of retries   KEYS[4] names of the queues
-- KEYS[5] names of those that may have new jobs   KEYS[6] wake-up list   KEYS[7] events
-- ARGV[1] entry of the dead letter   ARGV[2] application   ARGV[3] number of the message
-- ARGV[4] generation of its code     ARGV[5] and following: the job, name, value, …
-- Returns one of: {'gone'} (the letter, or the record) {'unwanted', reason} {'redriven'}
-- include clock fence streams record deliveries

local found = record.read(KEYS[2], ARGV[2])
if not found or #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return { 'gone' } end
if found.status ~= 'pending' then return { 'unwanted', found.status } end
if now >= found.expires then return { 'unwanted', 'expired' } end
if found.generation ~= tonumber(ARGV[4]) then return { 'unwanted', 'superseded' } end
if deliveries.has_arrived(KEYS[2], ARGV[3]) then return { 'unwanted', 'sent' } end
if deliveries.is_decided(KEYS[2], ARGV[3]) then return { 'unwanted', 'reported' } end
redis.call('HSET', KEYS[2], 'from' .. ARGV[3], redis.call('HGET', KEYS[2], 'n' .. ARGV[3]) or 0)
streams.put_back(KEYS[3], KEYS[4], KEYS[5], KEYS[6], streams.fields({ unpack(ARGV, 5) }))
redis.call('XDEL', KEYS[1], ARGV[1])
streams.report(KEYS[7], 'message.redriven', found, { message = ARGV[3] })
return { 'redriven' }
