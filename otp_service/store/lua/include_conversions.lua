-- Breakers on conversion: where hardly anybody who gets a code types it in (domain/guard.py).
--
-- A breaker is ten values of a row: number of the slot, sends and approvals in it, those in the one before, those in all
-- before that, when it is tried again (0 while it is closed), how often it was opened since it was last seen to be well, and
-- from when on what was started counts.
local conversions = {}
local SLOT, KEPT, FORGOTTEN = 60000, 0.93, 120

-- Brings a breaker to the present.
function conversions.advance(values, b)
  local slot = math.floor(now / SLOT)
  if values[b] == 0 then values[b] = slot end
  for _ = 1, math.min(slot - values[b], FORGOTTEN) do
    values[b + 5], values[b + 6] = values[b + 5] * KEPT + values[b + 3], values[b + 6] * KEPT + values[b + 4]
    values[b + 3], values[b + 4], values[b + 1], values[b + 2] = values[b + 1], values[b + 2], 0, 0
  end
  values[b] = math.max(values[b], slot) -- a clock that was set back does not age it twice
end

local function open(values, b, rule)
  local closed_for = rule.closed_for
  for _ = 1, math.min(values[b + 8], 30) do closed_for = math.min(2 * closed_for, rule.max_closed_for) end
  if not rule.passes_while_open then -- only what is sent from now on tells
    for i = b + 1, b + 6 do values[i] = 0 end
    values[b + 9] = now
  end
  values[b + 7], values[b + 8] = now + closed_for, values[b + 8] + 1
end

-- Judges a breaker by what it has seen. Returns 'open', 'closed' or 'probing', and whether that is new.
function conversions.judge(values, b, rule)
  local ends, sent, approved = values[b + 7], values[b + 5], values[b + 6]
  if now < ends then return 'open', false end
  local was_open = ends > 0
  local ripe, bad = sent >= (was_open and rule.probe or rule.sends), approved < rule.rate * sent
  if ripe and bad then
    open(values, b, rule)
    return 'open', true
  end
  if ripe then
    values[b + 7], values[b + 8] = 0, 0
  elseif not was_open then
    return 'closed', false
  elseif not rule.passes_while_open then
    return 'probing', false
  elseif bad and sent >= 1 then -- too little to tell, and nothing good
    return 'open', false
  else
    values[b + 7] = 0
  end
  return 'closed', was_open
end

-- Notes the approval of a verification that was started at `created`.
function conversions.approve(values, b, created)
  local age = values[b] - math.floor(created / SLOT)
  if created < values[b + 9] then return end
  if age <= 0 then
    values[b + 2] = values[b + 2] + 1
  elseif age == 1 then
    values[b + 4] = values[b + 4] + 1
  else
    local weight = 1
    for _ = 1, math.min(age - 2, FORGOTTEN) do weight = weight * KEPT end
    values[b + 6] = values[b + 6] + weight
  end
end
