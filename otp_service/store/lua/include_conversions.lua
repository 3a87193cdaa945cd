-- Breakers on conversion: where hardly anybody who gets a code types it in (domain/guard.py).
--
-- A breaker is a list: number of the slot, sends and approvals in it, those in the one before, those in all before that, when
-- it is tried again (0 while it is closed), how often it was opened since it was last seen to be well, and from when on what
-- was started counts.
local conversions = {}
local SLOT, KEPT, FORGOTTEN = 60000, 0.93, 120

-- Brings a breaker to the present, a new one for nil, and returns it.
function conversions.advance(seen)
  local slot = math.floor(now / SLOT)
  if not seen then return { slot, 0, 0, 0, 0, 0, 0, 0, 0, 0 } end
  for _ = 1, math.min(slot - seen[1], FORGOTTEN) do
    seen[6], seen[7] = seen[6] * KEPT + seen[4], seen[7] * KEPT + seen[5]
    seen[4], seen[5], seen[2], seen[3] = seen[2], seen[3], 0, 0
  end
  seen[1] = math.max(seen[1], slot) -- a clock that was set back does not age it twice
  return seen
end

local function open(seen, rule)
  local closed_for = rule.closed_for
  for _ = 1, math.min(seen[9], 30) do closed_for = math.min(2 * closed_for, rule.max_closed_for) end
  if not rule.passes_while_open then -- only what is sent from now on tells
    for i = 2, 7 do seen[i] = 0 end
    seen[10] = now
  end
  seen[8], seen[9] = now + closed_for, seen[9] + 1
end

-- Judges a breaker by what it has seen. Returns 'open', 'closed' or 'probing', and whether that is new.
function conversions.judge(seen, rule)
  if now < seen[8] then return 'open', false end
  local was_open = seen[8] > 0
  local ripe = seen[6] >= (was_open and rule.probe or rule.sends)
  local bad = seen[7] < rule.rate * seen[6]
  if ripe and bad then
    open(seen, rule)
    return 'open', true
  end
  if ripe then
    seen[8], seen[9] = 0, 0
  elseif not was_open then
    return 'closed', false
  elseif not rule.passes_while_open then
    return 'probing', false
  elseif bad and seen[6] >= 1 then -- too little to tell, and nothing good
    return 'open', false
  else
    seen[8] = 0
  end
  return 'closed', was_open
end

-- Notes the approval of a verification that was started at `created`.
function conversions.approve(seen, created)
  local age = seen[1] - math.floor(created / SLOT)
  if created < seen[10] then return end
  if age <= 0 then
    seen[3] = seen[3] + 1
  elseif age == 1 then
    seen[5] = seen[5] + 1
  else
    local weight = 1
    for _ = 1, math.min(age - 2, FORGOTTEN) do weight = weight * KEPT end
    seen[7] = seen[7] + weight
  end
end
