-- What is known of a number: when it was last approved, and from which contexts. A context is a device or browser of
-- one application, as a pseudonym.
local standing = {}

-- Returns whether the number was approved lately, whether from this context (empty for none), and from any at all.
function standing.of(key, context)
  local found = redis.call('HMGET', key, 'approved', 'contexts', 'c:' .. context)
  local function lately(at) return at and now - tonumber(at) < ruleset.known or false end
  return { approved = lately(found[1]), some = lately(found[2]), familiar = context ~= '' and lately(found[3]) }
end

-- Notes an approval. Of the contexts the last ones are kept: one that comes new takes the place of the oldest.
function standing.approve(key, context)
  if context == '' then
    redis.call('HSET', key, 'approved', now)
  else
    redis.call('HSET', key, 'approved', now, 'contexts', now, 'c:' .. context, now)
    local fields, oldest, count = redis.call('HGETALL', key), nil, 0
    for i = 1, #fields, 2 do
      local at = tonumber(fields[i + 1])
      if string.sub(fields[i], 1, 2) == 'c:' then
        count = count + 1
        if not oldest or at < oldest.at then oldest = { name = fields[i], at = at } end
      end
    end
    if count > ruleset.contexts then redis.call('HDEL', key, oldest.name) end
  end
  redis.call('PEXPIRE', key, ruleset.known)
end
