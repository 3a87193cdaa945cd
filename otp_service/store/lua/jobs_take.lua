-- Puts due retries back into their queues, then takes new jobs for a worker: payments more often than logins, fresh messages more often
-- than retries, but some of each; within a kind the queues in turn. The queues come from their names (same hash tags).
-- include clock streams
local TURNS, KINDS = { 1, 2, 1, 1, 2, 1, 3 }, { transaction = 1, possession = 2 }
local MAX_RETRIES = 100 -- of a bucket in one call, so that no other call waits for long

local count, next_retry = #KEYS / 4, math.huge

local function due_in(delayed)
  local at = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
  return at and tonumber(at) - now or math.huge
end

for i = key.rest, count do
  local delayed = KEYS[count * 3 + i]
  local due = due_in(delayed)
  if due <= 0 then
    for _, job in ipairs(redis.call('ZRANGE', delayed, '-inf', now, 'BYSCORE', 'LIMIT', 0, MAX_RETRIES)) do
      local readable, fields = pcall(cjson.decode, job)
      if not readable or type(fields) ~= 'table' then fields = { 'unreadable', job } end
      local known = streams.fields(fields)
      local queue = ARGV[arg.rest + i - 1] .. table.concat({ known.application or '', known.country or '', known.channel or '' }, ':')
      streams.put_back(queue, KEYS[count * 2 + i], KEYS[i], KEYS[count + i], known)
      redis.call('ZREM', delayed, job)
    end
    due = due_in(delayed)
  end
  next_retry = math.min(next_retry, math.max(0, due))
end
if next_retry == math.huge then next_retry = -1 end

local left_out, kinds, ready_of = {}, { {}, {}, {} }, {}
for _, queue in ipairs({ unpack(ARGV, arg.rest + count) }) do left_out[queue] = true end
for i = key.rest, count do
  local queues = redis.call('SMEMBERS', KEYS[i])
  table.sort(queues)
  for _, queue in ipairs(queues) do
    ready_of[queue] = i
    if not left_out[queue] then table.insert(kinds[KINDS[string.match(queue, ':outbox:(%a+):')] or 3], queue) end
  end
end

-- Returns a queue's next entry; nil for none, or where it cannot be read. A new queue gets its group.
local function entry_of(queue)
  local answer = redis.pcall('XREADGROUP', 'GROUP', arg.group, arg.consumer, 'COUNT', 1, 'STREAMS', queue, '>')
  if type(answer) == 'table' and answer.err then
    local made = redis.pcall('XGROUP', 'CREATE', queue, arg.group, '0', 'MKSTREAM')
    return not made.err and entry_of(queue) or nil -- a failure leaves what was taken before to be returned
  end
  return answer and answer[1][2][1] or nil
end

local start, place = tonumber(arg.turn), {}
for kind = 1, 3 do place[kind] = math.floor(start / #TURNS) % math.max(1, #kinds[kind]) + 1 end

-- Returns a kind's next entry and its queue; nil when all its queues are empty.
local function take(kind)
  local queues = kinds[kind]
  while #queues > 0 do
    if place[kind] > #queues then place[kind] = 1 end
    local queue = queues[place[kind]]
    local entry = entry_of(queue)
    if entry then
      place[kind] = place[kind] + 1
      return { queue, entry[1], entry[2] }
    end
    redis.call('SREM', KEYS[ready_of[queue]], queue)
    table.remove(queues, place[kind]) -- the next one is in its place
  end
end

local jobs = {}
for turn = start, start + tonumber(arg.max_jobs) - 1 do
  local job = take(TURNS[turn % #TURNS + 1]) or take(1) or take(2) or take(3)
  if not job then return reply.jobs_taken { jobs = jobs, next_retry = next_retry } end
  jobs[#jobs + 1] = job
end
for i = key.rest, count do -- others may have time for the rest
  if redis.call('SCARD', KEYS[i]) > 0 then streams.wake(KEYS[count + i]) end
end
return reply.jobs_taken { jobs = jobs, next_retry = next_retry }
