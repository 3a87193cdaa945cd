-- What is known of a number: when it was last approved (`approved`), when from any context (`known`), when from one of an
-- application's (`a:` and its name), and when from each of the last ones (`c:` and the context, a device or browser of one
-- application, as a pseudonym).
local reputation = {}

-- Returns whether the number was approved lately, whether from this context (empty for none), and from any at all.
function reputation.read(kept, context, application)
  local function lately(at) return at and now - at < ruleset.known or false end
  return { approved = lately(kept.approved), some = lately(kept.known), here = lately(kept['a:' .. application]),
    known_device = context ~= '' and lately(kept['c:' .. context]) }
end

-- Returns how many contexts are kept of a number, and the one that was approved longest ago.
local function contexts(kept)
  local oldest, count = nil, 0
  for name, at in pairs(kept) do
    if string.sub(name, 1, 2) == 'c:' then
      count = count + 1
      if not oldest or at < kept[oldest] then oldest = name end
    end
  end
  return count, oldest
end

-- Notes an approval. A context that comes new takes the place of the oldest when there are too many.
function reputation.approve(key, kept, context, application)
  kept.approved = now
  if context ~= '' then
    kept.known, kept['a:' .. application], kept['c:' .. context] = now, now, now
    local count, oldest = contexts(kept)
    while count > ruleset.contexts do -- more than one when fewer are kept than were before
      kept[oldest] = nil
      count, oldest = contexts(kept)
    end
  end
  states.write(key, kept, ruleset.known)
end
