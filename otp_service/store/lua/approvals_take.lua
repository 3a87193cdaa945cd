-- Takes out of records what verifications were counted for that were approved: once, however often it is asked. Where other subjects have
-- other slots, each gives back by what this returns (subject_give_back); what dies on the way stays counted.
--
-- KEYS[1] and following: the records, of one application   ARGV[1] application
-- Returns: for each, the first to the last: what was counted, the number's pseudonym and the names of block, address, /48 and /32; country; when
-- it was started. Nothing in the place of one that is gone, or was given back
-- include clock fence record

local told = {}
for i, key in ipairs({ unpack(KEYS, 1) }) do
  local found = record.read(key, ARGV[1])
  told[i] = {}
  if found and found.guard ~= '' then
    told[i] = { found.guard, found.pseudonym, found.block, found.network, found.wide, found.provider, found.country,
      found.created }
    found.guard = ''
    record.write(found)
  end
end
return told
