"""What a replay reads: what was tried, from the events and the decisions, in the order in which it happened."""

from collections import Counter
from typing import Any

from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import ADDRESS, approve, come_in, guarded, guess, later, modes, number, passed, priced, refused

from otp_service.domain.guard_replay import Replay
from otp_service.store import keys

SPACE = {"block": {"unapproved": ["2/day"]}}


def _shop(frozen: FrozenValkey, *rules: str, **guard: Any) -> Caller:
    return Caller(guarded(frozen, guard={**SPACE, **guard, "modes": modes(*rules)}))


def _tried(caller: Caller) -> list[tuple[str, str]]:
    return [(one.kind, one.refused) for one in caller.context.store.attempts.all()]


def _differing(caller: Caller) -> list[Any]:
    """Return the attempts that go otherwise in a replay under the same rules."""
    rulesets = {name: loaded.ruleset for name, loaded in caller.context.rulesets.items()}
    replay = Replay(rulesets)
    judged = [(one, replay.judge(one)) for one in caller.context.store.attempts.all()]
    return [(one, rule) for one, rule in judged if rule != one.refused]


def test_what_is_refused_stands_where_it_happened_although_all_happens_within_a_millisecond(
    frozen: FrozenValkey,
) -> None:
    shop = _shop(frozen, "block.unapproved")
    one = shop.start(number(1))
    shop.start(number(2))
    assert refused(lambda: shop.start(number(3)))
    assert refused(lambda: shop.resend(one))
    come_in(shop, one)
    shop.start(number(3))

    start, full = ("start", ""), "block.unapproved"
    assert _tried(shop) == [start, start, ("start", full), ("resend", full), ("approved", ""), start]
    assert len({attempt.at for attempt in shop.context.store.attempts.all()}) == 1
    assert not _differing(shop)


def test_what_is_refused_before_anything_happened_comes_first(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"GB": "2000"})
    assert refused(lambda: shop.start("+447400123456"))
    shop.start(number(1))

    assert _tried(shop) == [("start", "spend.application"), ("start", "")]


def test_codes_are_told_from_their_events(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "number.guess_wait", number={"guess_waits": [60]})
    one = shop.start(number(1))
    guess(shop, one)
    guess(shop, one)
    later(frozen, 61)
    for _ in range(4):
        guess(shop, one)
        later(frozen, 61)
    guess(shop, one)  # no check is left: it is not compared, and counts for no rule

    wrong = ("wrong", "")
    assert _tried(shop)[1:3] == [wrong, ("check", "number.guess_wait")]
    assert _tried(shop)[3:] == [wrong] * (len(_tried(shop)) - 3)
    assert shop.read(one).verification.checks == _tried(shop).count(wrong)
    assert not _differing(shop)


def test_each_message_has_its_price(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"*": "2", "GB": "3"}, spend={"hour": "6"})
    one = shop.start(number(1))
    shop.resend(one)
    assert refused(lambda: shop.start("+447400123456"))
    shop.resend(one)
    assert refused(lambda: shop.resend(one))

    attempts = list(shop.context.store.attempts.all())
    assert [attempt.price for attempt in attempts] == [2_000_000, 2_000_000, 3_000_000, 2_000_000, 2_000_000]
    assert {attempt.verification for attempt in attempts if attempt.price == attempts[0].price} == {one}
    assert [attempt.refused for attempt in attempts] == ["", "", "spend.application", "", "spend.application"]


def test_it_begins_where_both_streams_are_complete(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "block.unapproved")
    approve(shop, number(9))
    for _ in range(3):
        later(frozen, 60)
        passed(shop, number(1), 2)
    assert ("start", "block.unapproved") in _tried(shop)

    times = [entry for entry, fields in frozen.client.xrange(keys.decisions("00"))]
    frozen.client.xtrim(keys.decisions("00"), minid=times[-1], approximate=False)
    assert {attempt.at for attempt in shop.context.store.attempts.all()} == {frozen.now}, "as the decisions are"
    frozen.client.delete(keys.decisions("00"))
    assert len(_tried(shop)) == frozen.client.xlen(keys.events("00")), "none was made recently"
    later(frozen, 60)
    assert passed(shop, number(1), 1) == 0
    frozen.client.xtrim(keys.events("00"), maxlen=0, approximate=False)
    assert _tried(shop) == [("start", "block.unapproved")], "nothing was accepted since"


def test_a_start_writes_a_message_and_an_event_and_a_check_an_event(frozen: FrozenValkey) -> None:
    shop = _shop(frozen)
    one = shop.start(number(1), client_ip=ADDRESS)
    code, wrong = shop.code(one), shop.wrong(one)

    assert _writes(frozen, lambda: shop.start(number(2), client_ip=ADDRESS)) == {"xadd": 2}
    assert _writes(frozen, lambda: shop.check(one, wrong)) == {"xadd": 1}
    assert _writes(frozen, lambda: shop.check(one, code)) == {"xadd": 1}


def _writes(frozen: FrozenValkey, act: Any) -> Counter[str]:
    """Return the commands on streams that something took, those of its scripts included."""
    frozen.client.config_resetstat()
    act()
    calls = frozen.client.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): calls[name]["calls"]
                    for name in ("cmdstat_xadd", "cmdstat_xtrim") if name in calls})  # fmt: skip
