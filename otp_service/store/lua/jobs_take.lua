-- Takes new jobs for a worker, the queues in turn: payments more often than logins, fresh messages more often than
-- retries, and none of them never; within a kind one queue after the other.
--
-- KEYS: the names of the queues that may have new jobs, of each bucket; then the wake-up lists of as many
-- ARGV[1] consumer group   ARGV[2] consumer   ARGV[3] greatest number of jobs   ARGV[4] where the turns begin: any
-- number, another one each time   ARGV[5] and following: queues to be left out
-- Derives: the queues, from their names (same hash tags)
-- Returns: {{queue, entry, fields}, …}
-- include clock streams

local TURNS, KINDS = { 1, 2, 1, 1, 2, 1, 3 }, { transaction = 1, possession = 2 }

local left_out, kinds, ready_of = {}, { {}, {}, {} }, {}
for _, queue in ipairs({ unpack(ARGV, 5) }) do left_out[queue] = true end
for i = 1, #KEYS / 2 do
  local queues = redis.call('SMEMBERS', KEYS[i])
  table.sort(queues)
  for _, queue in ipairs(queues) do
    ready_of[queue] = i
    if not left_out[queue] then table.insert(kinds[KINDS[string.match(queue, ':outbox:(%a+):')] or 3], queue) end
  end
end

-- Returns an entry of a queue; nil when it has none, or cannot be read. One that nobody has read yet gets its group.
local function entry_of(queue)
  local answer = redis.pcall('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', queue, '>')
  if type(answer) == 'table' and answer.err then
    local made = redis.pcall('XGROUP', 'CREATE', queue, ARGV[1], '0', 'MKSTREAM')
    return not made.err and entry_of(queue) or nil -- a failure leaves what was taken before to be returned
  end
  return answer and answer[1][2][1] or nil
end

local start, place = tonumber(ARGV[4]), {}
for kind = 1, 3 do place[kind] = math.floor(start / #TURNS) % math.max(1, #kinds[kind]) + 1 end

-- Returns an entry of a kind and its queue; nil when all its queues are empty.
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
for turn = start, start + tonumber(ARGV[3]) - 1 do
  local job = take(TURNS[turn % #TURNS + 1]) or take(1) or take(2) or take(3)
  if not job then return jobs end
  jobs[#jobs + 1] = job
end
for i = 1, #KEYS / 2 do -- others may have time for the rest
  if redis.call('SCARD', KEYS[i]) > 0 then streams.wake(KEYS[#KEYS / 2 + i]) end
end
return jobs
