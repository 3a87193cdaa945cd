-- Takes new jobs for a worker, the lanes in turn: payments more often than logins, fresh messages more often than
-- retries, and none of them never; within a kind one application after the other.
--
-- KEYS: the lanes, by kind
-- ARGV[1] consumer group   ARGV[2] consumer   ARGV[3] greatest number of jobs   ARGV[4] where the turns begin: any
-- number, another one each time
-- ARGV[5] and following: number of lanes of transactions, of possessions, of retries
-- Returns: {{lane, entry, fields}, …}

local TURNS = { 1, 2, 1, 1, 2, 1, 3 }

local kinds, key = {}, 0
for kind = 1, 3 do
  kinds[kind] = {}
  for _ = 1, tonumber(ARGV[4 + kind]) do
    key = key + 1
    table.insert(kinds[kind], KEYS[key])
  end
end

-- Returns an entry of a lane; nil when it is empty. A lane that nobody has read yet gets its group.
local function entry_of(lane)
  local answer = redis.pcall('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', lane, '>')
  if type(answer) == 'table' and answer.err then
    redis.call('XGROUP', 'CREATE', lane, ARGV[1], '0', 'MKSTREAM') -- fails where it was not the group that was missing
    return entry_of(lane)
  end
  return answer and answer[1][2][1]
end

local start = tonumber(ARGV[4])
local rotation = { math.floor(start / #TURNS), math.floor(start / #TURNS), math.floor(start / #TURNS) }

-- Returns an entry of a kind and its lane; nil when all its lanes are empty.
local function take(kind)
  local lanes = kinds[kind]
  while #lanes > 0 do
    local place = rotation[kind] % #lanes + 1
    local entry = entry_of(lanes[place])
    if entry then
      rotation[kind] = rotation[kind] + 1
      return { lanes[place], entry[1], entry[2] }
    end
    table.remove(lanes, place)
  end
end

local jobs = {}
for turn = start, start + tonumber(ARGV[3]) - 1 do
  local job = take(TURNS[turn % #TURNS + 1]) or take(1) or take(2) or take(3)
  if not job then break end
  jobs[#jobs + 1] = job
end
return jobs
