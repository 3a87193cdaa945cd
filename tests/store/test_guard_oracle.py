"""The buckets and breakers of the guard decide in the script as they do in memory, whatever happens in which order."""

import random
from typing import Any

import pytest
from support_frozen import START, FrozenValkey

from otp_service.domain.guard import Bucket, ConversionBreaker
from otp_service.domain.guard_replay import ConversionRecord, PartState, bucket_wait
from otp_service.domain.newcomer_traffic import GROWTH
from otp_service.store import library

MINUTE = 60_000
JUMPS = [0, 1, 999, 30_000, MINUTE, 90_000, 10 * MINUTE, 61 * MINUTE, 25 * 60 * MINUTE]
BUCKET = """
local layout = rows.layout('ends time lu3600 a3600 a86400')
local rule = { level = 3, approved = 4, amount = tonumber(ARGV[1]), window = tonumber(ARGV[2]),
  factor = tonumber(ARGV[3]) }
if ARGV[5] == '1' then
  rule.max_growth, rule.usual, rule.usual_window, rule.growth_of_usual = 2, 7, 86400000, rule.factor / 2
end
local row = rows.unpack(KEYS[1], redis.call('GET', KEYS[1]), layout)
local level, most = buckets.leak(row, rule)
local wait = buckets.wait(level, most, rule)
if ARGV[4] == 'approve' then
  row[3] = math.max(0, row[3] - 1)
  counters.add(row, rule.approved, rule.window)
  counters.add(row, 7, 86400000)
  if row[2] == 0 then row[2] = now end
else
  row[3], row[2] = wait == 0 and level + 1 or level, now
end
row[1] = now + 864000000
rows.write(row, 864000000)
return { wait, string.format('%.9f', level), string.format('%.9f', most) }
"""
BREAKER = """
local rule = { sends = 20, probe = 10, rate = 0.15, closed_for = 900000, max_closed_for = 7200000,
  passes_while_open = ARGV[1] == 'passes_while_open' }
local layout = rows.layout('ends b')
local row = rows.unpack(KEYS[1], redis.call('GET', KEYS[1]), layout)
local stands
conversions.advance(row, 2)
if ARGV[2] == 'approve' then
  conversions.approve(row, 2, tonumber(ARGV[3]))
else
  stands = conversions.judge(row, 2, rule)
  if stands ~= 'open' or rule.passes_while_open then row[3] = row[3] + 1 end
end
row[1] = now + 864000000
rows.write(row, 864000000)
return { stands or '', row[9], row[10], string.format('%.6f', row[7]), string.format('%.6f', row[8]) }
"""


def _text(part: str, body: str) -> str:
    return "\n".join([*library.part_texts(("clock", "rows", "counters", part)), "clock.read()", body])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("factor", "bounded"), [(0.0, False), (1.0, False), (2.0, False), (2.0, True), (3.0, True)])
def test_a_bucket_holds_in_the_script_what_it_holds_in_memory(
    frozen: FrozenValkey, seed: int, factor: float, *, bounded: bool
) -> None:
    chance, part = random.Random(seed), PartState()
    bound = {"max_growth": GROWTH, "usual_window": 24 * 60 * MINUTE} if bounded else {}
    rule = Bucket("", "block", "approved", "u3600", chance.choice([1, 2, 4]), 60 * MINUTE, factor, **bound)
    text = _text("buckets", BUCKET)
    waits = set()
    for _ in range(150):
        frozen.move_to(frozen.now + chance.choice(JUMPS[:7] if chance.random() < 0.97 else JUMPS))
        does = chance.choice([*5 * ["send"], "approve"])
        shape = (rule.amount, rule.window, rule.factor)
        wait, held, most = frozen.client.eval(text, 1, "guard", *shape, does, int(bounded))
        expected = _bucket_step(part, rule, frozen.now, does)
        waits.add(bool(wait))

        assert (wait, float(held), float(most)) == pytest.approx(expected, abs=1e-6)
    assert waits == {False, True}, "it refused now and then"


def _bucket_step(part: PartState, rule: Bucket, now: int, does: str) -> tuple[int, float, float]:
    level, capacity = part.level(rule, now), part.capacity(rule, now)
    wait = bucket_wait(level, capacity, rule)
    if does == "approve":
        part.roll_back(rule, 1)
        for window in rule.approval_windows:
            part.count_approval(window, now)
        part.at = part.at or now
    else:
        part.levels[rule.name] = level + (wait == 0)
        part.at = now
    return wait, level, capacity


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("passes_while_open", [False, True])
def test_a_breaker_stands_in_the_script_as_it_stands_in_memory(
    frozen: FrozenValkey, seed: int, *, passes_while_open: bool
) -> None:
    chance = random.Random(seed)
    rule = ConversionBreaker("", "block", "approved", 20, 0.15, 15 * MINUTE, 120 * MINUTE, passes_while_open)
    text, seen, stood = _text("conversions", BREAKER), ConversionRecord(START // MINUTE), set()
    for step in range(400):
        back = chance.random() < 0.05  # a clock that is set back
        frozen.move_to(frozen.now + (-40_000 if back else chance.choice([0, 500, 3000, 20_000, 70_000])))
        rate = 0.02 if step % 200 < 120 else 0.8
        does = "approve" if chance.random() < rate / (1 + rate) else "send"
        created = frozen.now - chance.choice([0, 25_000, 70_000, 200_000])
        given: list[Any] = ["passes_while_open" if passes_while_open else "-", does, created]
        stands, until, times, sends, approvals = frozen.client.eval(text, 1, "guard", *given)
        seen = seen.at_time(frozen.now)
        if does == "approve":
            seen = seen.approved(created)
        else:
            seen, state = seen.judge(frozen.now, rule)
            seen = seen.sent() if state != "open" or passes_while_open else seen
            stood.add(state.value)
            assert stands.decode() == state

        assert (until, times) == (seen.until, seen.times)
        assert (float(sends), float(approvals)) == pytest.approx((seen.ripe_sends, seen.ripe_approvals), abs=1e-4)
    assert stood == ({"closed", "open"} if passes_while_open else {"closed", "open", "probing"})
