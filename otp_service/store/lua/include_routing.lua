-- Chooses the gateway of a dispatch among those of its route.
local routing = {}

-- A gateway's errors for a message, each of which may have sent it; the rounds at 0, 1, 6 and 21 seconds outlast a short outage.
local MAX_ERRORS = 4
local ROOM_AGAIN = 1000 -- milliseconds until a worker without room for a call tries again, as when a call of its own ends

-- Counts calls through a channel by gateway, for this message and for others, and this message's errors of a gateway after call `after`.
local function count_calls(record, message, channel, after)
  local of_message, of_others, errors = {}, {}, {}
  for i = 1, #record, 2 do
    local number, dispatch = string.match(record[i], '^d(%d+)%.(%d+)$')
    if number then
      local through, gateway, _, reason = deliveries.parse(record[i + 1])
      if number == message and tonumber(dispatch) > after and string.find(reason, '^error ') then
        errors[gateway] = (errors[gateway] or 0) + 1
      end
      if gateway ~= '' and through == channel then
        local calls = number == message and of_message or of_others
        calls[gateway] = (calls[gateway] or 0) + 1
      end
    end
  end
  return of_message, of_others, errors
end

-- Reads a route's gateways, preferred first: a `RouteGateway` each from `argument` on, and in this slot two keys each from `first_key` on.
function routing.read(first_key, argument, record, message, channel, after)
  local of_message, of_others, errors = count_calls(record, message, channel, after)
  local gateways = {}
  for i = argument, #ARGV, 6 do
    local name, per_second, max_in_flight, lease, room, state = unpack(ARGV, i, i + 5)
    local place = #gateways + 1
    local hash, in_flight = KEYS[first_key + 2 * place - 2], KEYS[first_key + 2 * place - 1]
    local gateway = hash and health.read(hash, in_flight, per_second, max_in_flight) or health.of_state(state)
    gateway.name, gateway.lease, gateway.room, gateway.place = name, tonumber(lease), room, place
    gateway.called = room == 'called'
    gateway.of_message, gateway.of_others = of_message[gateway.name] or 0, of_others[gateway.name] or 0
    gateway.out = (errors[gateway.name] or 0) >= MAX_ERRORS
    gateways[place] = gateway
  end
  return gateways
end

-- Returns why a gateway was chosen: what kept the route's first from it.
local function choice(first, gateway)
  if gateway == first then return gateway.of_message > 0 and 'retry' or 'configured' end
  if first.why then return first.why end
  return (first.called or first.out or first.of_message > gateway.of_message) and 'fail_over' or 'already_tried'
end

-- Returns the gateway to call and why. Otherwise nil and the milliseconds until one may be free, -1 when all were called since the job
-- was taken; or nil alone when each answered with too many errors; or nil, nil and a gateway in another slot whose state is needed.
-- Fewest calls for this message come first, then fewest for the verification, then the route's order. A message waits for a gateway that
-- answers, and this worker's room. When all breakers are open, a gateway is tried now and then, unless another only waits for its rate.
function routing.choose(gateways)
  local first, wait, limited = gateways[1], -1, false
  local order = {}
  for _, gateway in ipairs(gateways) do
    if not gateway.out then order[#order + 1] = gateway end
  end
  if #order == 0 then return nil end
  table.sort(order, function(a, b)
    if a.of_message ~= b.of_message then return a.of_message < b.of_message end
    if a.of_others ~= b.of_others then return a.of_others < b.of_others end
    return a.place < b.place
  end)
  for _, gateway in ipairs(order) do
    if not gateway.called then
      if gateway.state and not gateway.state.wait then return nil, nil, gateway end
      local blocked, why = health.wait(gateway)
      if blocked == 0 and gateway.room == 'free' then return gateway, choice(first, gateway) end
      if blocked == 0 and gateway.room == 'full' then return nil, ROOM_AGAIN end
      if blocked == 0 then blocked, why = ROOM_AGAIN, 'limit' end
      gateway.why = why
      limited = limited or why == 'limit'
      wait = wait < 0 and blocked or math.min(wait, blocked)
    end
  end
  if limited then return nil, wait end
  for _, gateway in ipairs(order) do
    local resort = gateway.room == 'free' and health.last_resort(gateway)
    if resort == 0 and gateway.state and not gateway.state.entered then return nil, nil, gateway end
    if resort == 0 then return gateway, 'last_resort' end
    if resort then wait = math.min(wait, resort) end
  end
  return nil, wait
end
