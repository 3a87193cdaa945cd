-- Chooses the gateway of a dispatch among those of its route.
local routing = {}

-- How often a gateway may answer a message with an error of its own, for each may have sent it; the rounds at 0, 1, 6 and 21
-- seconds outlast a short outage.
local MOST_ERRORS = 4

-- Milliseconds until a worker asks again that has no room for a call: it also asks when one of its calls ends.
local ROOM_AGAIN = 1000

-- Counts, by gateway, the calls that were made through a channel: for this message, and for others of the
-- verification; and those for this message that ended in an error of the gateway, calls up to the number `after` left out.
-- `record` is the record as a flat list.
local function tried(record, message, channel, after)
  local here, elsewhere, errors = {}, {}, {}
  for i = 1, #record, 2 do
    local number, dispatch = string.match(record[i], '^d(%d+)%.(%d+)$')
    if number then
      local through, gateway, _, reason = deliveries.parse(record[i + 1])
      if number == message and tonumber(dispatch) > after and string.find(reason, '^error ') then
        errors[gateway] = (errors[gateway] or 0) + 1
      end
      if gateway ~= '' and through == channel then
        local calls = number == message and here or elsewhere
        calls[gateway] = (calls[gateway] or 0) + 1
      end
    end
  end
  return here, elsewhere, errors
end

-- Reads the gateways of a route, the preferred one first: of each a `RouteGateway` from `argument` on, and its two keys from `first_key` on
-- where they are in this slot.
function routing.read(first_key, argument, record, message, channel, after)
  local here, elsewhere, errors = tried(record, message, channel, after)
  local gateways = {}
  for i = argument, #ARGV, 6 do
    local name, per_second, max_in_flight, lease, room, state = unpack(ARGV, i, i + 5)
    local place = #gateways + 1
    local hash, in_flight = KEYS[first_key + 2 * place - 2], KEYS[first_key + 2 * place - 1]
    local one = hash and health.read(hash, in_flight, per_second, max_in_flight) or health.of_state(state)
    one.name, one.lease, one.room, one.place = name, tonumber(lease), room, place
    one.called = room == 'called'
    one.here, one.elsewhere = here[one.name] or 0, elsewhere[one.name] or 0
    one.out = (errors[one.name] or 0) >= MOST_ERRORS
    gateways[place] = one
  end
  return gateways
end

-- Returns why a gateway was chosen: what kept the route's first one from it.
local function choice(first, one)
  if one == first then return one.here > 0 and 'retry' or 'configured' end
  if first.why then return first.why end
  return (first.called or first.out or first.here > one.here) and 'fail_over' or 'already_tried'
end

-- Returns the gateway to call and why; or nil and the milliseconds until one may be free, -1 when all were called since
-- the job was taken; or nil alone when each has answered the message with too many errors. First comes what was called
-- least for this message, then least for the verification, then the route's order. When all breakers are open, one of
-- the gateways is tried all the same now and then, but not while another only waits for its rate. A gateway for which this worker has no
-- room is waited for while it answers, and passed over while it does not. Where the state of a
-- gateway in another slot is needed, returns nil, nil and that gateway.
function routing.choose(gateways)
  local first, wait, limited = gateways[1], -1, false
  local order = {}
  for _, one in ipairs(gateways) do
    if not one.out then order[#order + 1] = one end
  end
  if #order == 0 then return nil end
  table.sort(order, function(a, b)
    if a.here ~= b.here then return a.here < b.here end
    if a.elsewhere ~= b.elsewhere then return a.elsewhere < b.elsewhere end
    return a.place < b.place
  end)
  for _, one in ipairs(order) do
    if not one.called then
      if one.state and not one.state.wait then return nil, nil, one end
      local blocked, why = health.wait(one)
      if blocked == 0 and one.room == 'free' then return one, choice(first, one) end
      if blocked == 0 and one.room == 'full' then return nil, ROOM_AGAIN end
      if blocked == 0 then blocked, why = ROOM_AGAIN, 'limit' end
      one.why = why
      limited = limited or why == 'limit'
      wait = wait < 0 and blocked or math.min(wait, blocked)
    end
  end
  if limited then return nil, wait end
  for _, one in ipairs(order) do
    local resort = one.room == 'free' and health.last_resort(one)
    if resort == 0 and one.state and not one.state.entered then return nil, nil, one end
    if resort == 0 then return one, 'last_resort' end
    if resort then wait = math.min(wait, resort) end
  end
  return nil, wait
end
