-- Reads the mirror's place for a process without the ledger: nothing where it is closed, or not compared in this run of the server.
-- include clock mirror
local places = {}
for i = key.rest, #KEYS do
  local stored = redis.call('HMGET', KEYS[i], 'identity', 'sequence', 'entry', 'link', 'compared', 'closed', 'restored')
  local fits = stored[1] and stored[2] and stored[5] == mirror.server_name() and not (stored[6] or stored[7])
  places[#places + 1] = fits and { unpack(stored, 1, 4) } or {}
end
return reply.mirror_known { places = places }
