-- What was tried, for trying it again under other rules: starts, resends and codes, refused ones too. No number, address
-- or context is in it, only pseudonyms.
local attempts = {}

-- Notes an attempt. `refused` is the rule that refused it, empty for none; `what` as the caller packs it. A length of 0
-- keeps nothing.
function attempts.note(stream, length, age, kind, id, refused, what)
  if length == '0' then return end
  redis.call('XADD', stream, 'MAXLEN', '~', length, '*', 'kind', kind, 'id', id, 'refused', refused, 'what', what)
  redis.call('XTRIM', stream, 'MINID', now - age) -- exactly: pseudonyms are not kept for longer
  redis.call('PEXPIRE', stream, age) -- it has no consumer group that could be lost
end
