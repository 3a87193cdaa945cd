-- The health of gateways, shared by all workers: a breaker, the provider's rate, the calls in flight.
-- A gateway's hash has, while the breaker is open, `until` (when a probe may pass), `open_for`, `probe` (its dispatch), `probing` (the end
-- of the wait for it), `probed` (the last probe) and `opened_by` (an operator); while closed, `since`, `calls`, `bad` (of this window) and
-- `run` (bad ones in a row); also `opened`, `paused` and `pause` (throttling), `turn` (rate), `refusal` and `refused` (account). In ms.
local health = {}

local DAY, PATIENCE, IN_FLIGHT_AGAIN, LAST_RESORT = 86400000, 1000, 50, 10000

-- Reads a gateway's health and its limits, 0 for none.
function health.read(hash, in_flight, per_second, max_in_flight)
  local names = { 'until', 'probing', 'probed', 'opened_by', 'paused', 'turn' }
  local values = redis.call('HMGET', hash, unpack(names))
  local gateway = { hash = hash, in_flight = in_flight, per_second = tonumber(per_second), max_in_flight = tonumber(max_in_flight) }
  for i, name in ipairs(names) do gateway[name] = tonumber(values[i] or nil) or values[i] end
  return gateway
end

-- Returns a gateway in another slot by the answer of gateway_enter; an empty answer is not known yet.
function health.of_state(text)
  local why, wait, resort, entered = string.match(text, '^(%a*) (%d+) (%S+) (%d)$')
  return { state = { why = why, wait = tonumber(wait), resort = tonumber(resort), entered = entered == '1' } }
end

-- Returns the milliseconds until the gateway takes a message, 0 for now, and why: 'breaker' or 'limit'.
function health.wait(gateway)
  if gateway.state then return gateway.state.wait, gateway.state.why end
  if gateway['until'] and now < gateway['until'] then return gateway['until'] - now, 'breaker' end
  if gateway.probing and now < gateway.probing then return math.min(gateway.probing - now, PATIENCE), 'breaker' end
  if gateway.paused and now < gateway.paused then return gateway.paused - now, 'limit' end
  if gateway.per_second > 0 and gateway.turn and exact < gateway.turn then return math.ceil(gateway.turn - exact), 'limit' end
  if gateway.max_in_flight > 0 then
    redis.call('ZREMRANGEBYSCORE', gateway.in_flight, '-inf', now) -- what dead workers left
    if redis.call('ZCARD', gateway.in_flight) >= gateway.max_in_flight then return IN_FLIGHT_AGAIN, 'limit' end
  end
  return 0
end

-- Returns the milliseconds until an open breaker may be tried as a last resort; nil when it is closed, or an operator opened it.
function health.last_resort(gateway)
  if gateway.state then return gateway.state.resort end
  if not gateway['until'] or gateway.opened_by then return nil end
  return math.max(0, (gateway.probed or 0) + LAST_RESORT - now, (gateway.probing or 0) - now, (gateway.paused or 0) - now)
end

-- Lets a dispatch in, which may take `lease` milliseconds.
function health.enter(gateway, dispatch, lease)
  if gateway['until'] then redis.call('HSET', gateway.hash, 'probe', dispatch, 'probing', now + lease, 'probed', now) end
  if gateway.per_second > 0 then
    local turn = math.max(gateway.turn or 0, exact) + 1000 / gateway.per_second
    redis.call('HSET', gateway.hash, 'turn', string.format('%.3f', turn))
    redis.call('PEXPIRE', gateway.hash, math.max(DAY, redis.call('PTTL', gateway.hash)))
  end
  if gateway.max_in_flight > 0 then
    redis.call('ZADD', gateway.in_flight, now + lease, dispatch)
    redis.call('PEXPIRE', gateway.in_flight, DAY)
  end
end
