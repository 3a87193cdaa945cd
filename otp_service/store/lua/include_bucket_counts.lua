-- What the messages of a verification were counted in, so that an approval gives back that and no more. A record remembers it
-- of its block and its country, `in_block` and `in_country`: bucket:times, … Of an address its flags tell (see approvals).
local bucket_counts = {}

-- Returns how often a verification's messages were counted in a bucket.
function bucket_counts.times(text, bucket)
  return tonumber(string.match(',' .. (text or ''), ',' .. bucket .. ':(%d+)') or 0)
end

-- Returns what is to be remembered of a part, with one message more than before; empty for nothing. Rules for home and for
-- abroad may share a bucket: it is there once.
local function added(text, part)
  local entries, more = {}, {}
  for _, rule in ipairs(part.buckets) do more[rule.name] = more[rule.name] or rule.counts or false end
  for name, counts in pairs(more) do
    local times = bucket_counts.times(text, name) + (counts and 1 or 0)
    if times > 0 then entries[#entries + 1] = name .. ':' .. times end
  end
  return table.concat(entries, ',')
end

-- Notes in a record in which buckets a message was counted, after those before it (`found`).
function bucket_counts.note(record, sending, found)
  local fields = {}
  for _, part in ipairs(sending.parts) do
    local field = 'in_' .. part.name
    local text = part.starts and '' or added(found[field], part)
    if text ~= '' then fields[#fields + 1], fields[#fields + 2] = field, text end
  end
  if #fields > 0 then redis.call('HSET', record, unpack(fields)) end
end
