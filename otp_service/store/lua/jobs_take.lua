-- Takes new jobs for a worker: payments more often than logins, fresh messages more often than retries, none of them never; within a kind
-- the queues in turn. The queues come from their names (same hash tags).
-- include clock streams
local TURNS, KINDS = { 1, 2, 1, 1, 2, 1, 3 }, { transaction = 1, possession = 2 }

local left_out, kinds, ready_of = {}, { {}, {}, {} }, {}
for _, queue in ipairs({ unpack(ARGV, arg.rest) }) do left_out[queue] = true end
for i = key.rest, #KEYS / 2 do
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
  if not job then return reply.jobs { jobs = jobs } end
  jobs[#jobs + 1] = job
end
for i = key.rest, #KEYS / 2 do -- others may have time for the rest
  if redis.call('SCARD', KEYS[i]) > 0 then streams.wake(KEYS[#KEYS / 2 + i]) end
end
return reply.jobs { jobs = jobs }
