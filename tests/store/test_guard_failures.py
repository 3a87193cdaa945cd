"""Spraying: when most codes that an application checks are wrong it is an alarm, and, where it is enforced, a stop."""

from typing import Any

import pytest
from structlog.testing import capture_logs
from support_caller import Caller
from support_frozen import START, FrozenValkey
from support_guard import approve, decisions, guarded, guess, later, modes, number, passes, refused

from otp_service.telemetry import metrics

WINDOW = 600
SPREAD = "+9230"


@pytest.fixture(autouse=True)
def at_the_beginning_of_an_interval(frozen: FrozenValkey) -> None:
    frozen.move_to(START - START % (1000 * WINDOW) + 1000 * WINDOW)


def _shop(frozen: FrozenValkey, mode: str = "record_only", **of_failures: Any) -> Caller:
    guard = {"modes": modes("application.failures", mode=mode), "failures": of_failures}
    return Caller(guarded(frozen, guard=guard))


def _spray(shop: Caller, count: int, begin: int = 0) -> None:
    """Try one wrong code on each of many numbers, which are spread over blocks."""
    for place in range(begin, begin + count):
        guess(shop, shop.start(f"{SPREAD}{place % 5}{place:03}{place:04}"))


def _alarms(shop: Caller) -> list[int]:
    """Return when there was an alarm, in seconds after the beginning of the first interval."""
    begin = START - START % (1000 * WINDOW) + 1000 * WINDOW
    return [(one.at - begin) // 1000 for one in decisions(shop) if (one.kind, one.mode) == ("change", "alarm")]


def _counted(application: str) -> float:
    text = metrics.exposition().decode()
    lines = [one for one in text.splitlines() if one.startswith("otp_service_wrong_code_alarms_total")]
    return sum(float(one.split()[-1]) for one in lines if f'application="{application}"' in one)


def test_spraying_is_an_alarm_within_five_hundred_wrong_codes(frozen: FrozenValkey) -> None:
    """Beside honest people, of whom few mistype."""
    shop, before = _shop(frozen), _counted("shop")
    for last in range(80):
        approve(shop, number(last))
    tried = 0
    with capture_logs() as lines:
        while not _alarms(shop):
            _spray(shop, 1, tried)
            tried += 1
            assert tried <= 500

    assert tried == 100, "more than the eighty right ones, and as many as it takes"
    assert _counted("shop") == before + 1
    assert [(line["event"], line["application"]) for line in lines] == [("application_failures", "shop")]


def test_an_alarm_is_told_once_in_an_interval_and_again_in_the_next(frozen: FrozenValkey) -> None:
    shop, before = _shop(frozen, wrong=20), _counted("shop")
    for _ in range(2):
        _spray(shop, 60)
        later(frozen, WINDOW)

    assert _alarms(shop) == [0, WINDOW]
    assert _counted("shop") == before + 2


def test_an_alarm_tells_what_was_counted_and_until_when(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, wrong=20)
    later(frozen, 100)
    approve(shop, number(1))
    _spray(shop, 30)
    (alarm,) = decisions(shop)[:1]

    assert (alarm.rule, alarm.application, alarm.verification) == ("application.failures", "shop", "")
    assert [(one.used, one.most, one.window) for one in alarm.rule_hits] == [(20, 21, 1000 * WINDOW)]
    assert alarm.until == frozen.now + 500_000


@pytest.mark.parametrize(("wrong", "right", "alarm"), [(19, 0, False), (20, 0, True), (30, 30, False), (31, 30, True)])
def test_there_is_no_alarm_for_few_wrong_codes_or_a_small_share(
    frozen: FrozenValkey, wrong: int, right: int, alarm: bool
) -> None:
    shop = _shop(frozen, wrong=20)
    for last in range(right):
        approve(shop, number(last))
    _spray(shop, wrong)

    assert bool(_alarms(shop)) == alarm


def test_an_application_is_not_blamed_for_another_one(frozen: FrozenValkey) -> None:
    guard = {"modes": modes("application.failures"), "failures": {"wrong": 20}}
    installation = guarded(frozen, guard=guard)
    shop, bank = Caller(installation), Caller(installation, "bank")
    _spray(shop, 20)

    assert refused(lambda: shop.start(number(1)))
    assert passes(bank, number(1))


def test_by_default_it_only_records(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, wrong=20)
    _spray(shop, 40)
    one = shop.start(number(1))
    told = [each for each in decisions(shop) if each.verification == one]

    assert [(each.rule, each.mode) for each in told] == [("application.failures", "record_only")]


def test_where_it_is_enforced_messages_stop_until_the_interval_ends_and_the_caller_is_told_plainly(
    frozen: FrozenValkey,
) -> None:
    shop = _shop(frozen, "enforce", wrong=20)
    out = shop.start(number(1))
    later(frozen, 200)
    _spray(shop, 20)
    error = refused(lambda: shop.start(number(2)))

    assert error is not None
    assert str(error) == "Most codes that the application checks are wrong; messages are stopped for a while."
    assert error.retry_after == 400
    assert refused(lambda: shop.resend(out))
    assert shop.check(out, shop.code(out))[1], "codes that are out can still be checked"
    later(frozen, 399)
    assert not passes(shop, number(2))
    later(frozen, 2)
    assert passes(shop, number(2))
