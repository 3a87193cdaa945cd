-- Breakers on conversion: few of those who get a code type it in (domain/guard.py).
-- A breaker is ten values of a row: slot, sends and approvals in it, in the former slot, in all before, the next attempt (0 while closed),
-- how often it opened in a row, and the time from which starts count.
local conversions = {}
local SLOT, DECAY, FORGOTTEN = 60000, 0.93, 120

function conversions.advance(row, b)
  local slot = math.floor(now / SLOT)
  if row[b] == slot then return end
  if row[b] == 0 then row[b] = slot end
  for _ = 1, math.min(slot - row[b], FORGOTTEN) do
    row[b + 5], row[b + 6] = row[b + 5] * DECAY + row[b + 3], row[b + 6] * DECAY + row[b + 4]
    row[b + 3], row[b + 4], row[b + 1], row[b + 2] = row[b + 1], row[b + 2], 0, 0
  end
  row[b] = math.max(row[b], slot) -- a clock that was set back does not age it twice
end

-- Returns 'open', 'closed' or 'probing', and whether that is new.
function conversions.judge(row, b, rule)
  local ends, sent = row[b + 7], row[b + 5]
  local was_open = ends > 0
  if not was_open and sent < rule.sends then return 'closed', false end
  if now < ends then return 'open', false end
  local ripe, bad = not was_open or sent >= rule.probe, row[b + 6] < rule.rate * sent
  if ripe and bad then
    local closed_for = rule.closed_for
    for _ = 1, math.min(row[b + 8], 30) do closed_for = math.min(2 * closed_for, rule.max_closed_for) end
    if not rule.passes_while_open then -- only what is sent from now on tells
      for i = b + 1, b + 6 do row[i] = 0 end
      row[b + 9] = now
    end
    row[b + 7], row[b + 8] = now + closed_for, row[b + 8] + 1
    return 'open', true
  end
  if ripe then
    row[b + 7], row[b + 8] = 0, 0
  elseif not rule.passes_while_open then
    return 'probing', false
  elseif bad and sent >= 1 then -- too little to tell, and nothing good
    return 'open', false
  else
    row[b + 7] = 0
  end
  return 'closed', was_open
end

function conversions.approve(row, b, created)
  if created < row[b + 9] then return end
  local age, amount = row[b] - math.floor(created / SLOT), 1
  for _ = 1, math.min(age - 2, FORGOTTEN) do amount = amount * DECAY end
  local place = b + 2 + 2 * math.max(0, math.min(age, 2)) -- the approvals of the slot, of the one before, or of all before that
  row[place] = math.max(0, row[place] + amount)
end

