"""Refusals get into the hourly stats: each once, whoever counts, and whatever is away meanwhile."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select
from support_caller import Caller
from support_guard import PERMISSIVE, modes
from support_installation import NUMBER, World, key
from support_service import eventually

from otp_service.domain.guard import HOUR
from otp_service.errors import LedgerUnavailableError, OtpServiceError
from otp_service.ledger.schema import verifications
from otp_service.ledger.stats import Stats
from otp_service.services import stats
from otp_service.services.stats import record_refusals
from otp_service.store import keys
from otp_service.worker.recorder import Recorder

BUCKETS = ("00",)
DECISIONS = keys.decisions(*BUCKETS)
KEYS = {"root": f"k1:{key()}", "pseudonym": key()}
PURPOSE = {"login": {"resend_delays": [0], "max_sends": 5, "channels": ["sms"]}}


def shop_of(world: World, url: str, mode: str = "enforce") -> Caller:
    """Return an application in which a number gets two messages, and has to wait after a guess."""
    limits = {**PERMISSIVE, "number": ["2/day"]}
    guard = {"modes": modes("number.sends", "number.guess_wait", mode=mode), "number": {"guess_waits": [60]}}
    return Caller(world.install(ledger={"url": url}, guard=guard, limits=limits, purposes=PURPOSE, keys=KEYS))


@pytest.fixture
def shop(world: World, ledger_url: str) -> Iterator[Caller]:
    made = shop_of(world, ledger_url)
    yield made
    made.context.ledger.database.close()


def refuse(shop: Caller, times: int, to: str = NUMBER) -> None:
    """Let two starts pass, and so many be refused."""
    for number in range(2 + times):
        if number < 2:
            shop.start(to)
            continue
        with pytest.raises(OtpServiceError):
            shop.start(to)


def counted(shop: Caller, *by: str) -> list[tuple[object, ...]]:
    sums = shop.context.ledger.stats.sums(0, 10**13, (*by, "event", "reason"))
    return [(*one.of, one.times) for one in sums if "refused." in str(one.of[-2])]


def test_starts_resends_and_checks_that_were_refused_are_counted_by_their_rule(shop: Caller, world: World):
    one = shop.start()
    shop.resend(one)
    for act in (shop.start, shop.start, lambda: shop.resend(one)):
        with pytest.raises(OtpServiceError):
            act()
    assert shop.check(one, shop.wrong(one))[3] == "wrong_code"
    assert shop.check(one, shop.wrong(one))[3] == "number_locked"
    recorder = Recorder(shop.context, "recorder", 1.0, 0.2)
    recorder.start()
    try:
        assert eventually(lambda: len(counted(shop)) == 3)
    finally:
        recorder.stop()

    by = ("application", "purpose", "country", "channel", "gateway")
    about = ("shop", "login", "PK", "", "")
    assert counted(shop, *by) == [
        (*about, "refused.check", "number.guess_wait", 1),
        (*about, "refused.resend", "number.sends", 1),
        (*about, "refused.start", "number.sends", 2),
    ]
    (hour, *_), *_ = counted(shop, "hour")
    first = int(world.client.xrange(DECISIONS, count=1)[0][0].partition(b"-")[0])
    assert hour == first - first % HOUR


def test_what_a_rule_that_only_records_would_have_refused_is_counted_as_such(
    shop: Caller, world: World, ledger_url: str
):
    recording = shop_of(world, ledger_url, "record_only")
    for _ in range(5):
        recording.start()
    record_refusals(recording.context, BUCKETS)
    recording.context.ledger.database.close()

    assert counted(shop) == [("would_be_refused.start", "number.sends", 3)]


def test_that_a_breaker_opened_is_no_refusal(shop: Caller):
    shop.context.store.decisions.note("00", "country.unknown_numbers", country="PK", mode="lifted")
    shop.context.store.decisions.note("00", "destination.country", "shop", "login", "GB")
    record_refusals(shop.context, BUCKETS)

    assert counted(shop) == [("refused.start", "destination.country", 1)]
    assert shop.context.ledger.stats.position("00"), "what is not counted is not looked at again either"


def test_twice_does_no_harm(shop: Caller):
    refuse(shop, 3)
    record_refusals(shop.context, BUCKETS)
    record_refusals(shop.context, BUCKETS)
    refuse(shop, 2, "+923007654321")
    record_refusals(shop.context, BUCKETS)

    assert counted(shop) == [("refused.start", "number.sends", 5)]


def test_two_recorders_at_once_count_once(shop: Caller, world: World, ledger_url: str, monkeypatch: pytest.MonkeyPatch):
    """Both have read the same entries when they write: one of them is too late, and adds nothing."""
    monkeypatch.setattr(stats, "_BATCH_SIZE", 4)
    refuse(shop, 10)
    other = shop_of(world, ledger_url)
    both, waiting, add = threading.Barrier(2, timeout=5), iter(range(2)), Stats.add

    def together(*arguments):
        if next(waiting, None) is not None:
            both.wait()
        return add(*arguments)

    monkeypatch.setattr(Stats, "add", together)
    with ThreadPoolExecutor(2) as pool:
        for counting in [pool.submit(record_refusals, one.context, BUCKETS) for one in (shop, other)]:
            counting.result()
    record_refusals(other.context, BUCKETS)
    other.context.ledger.database.close()

    assert counted(shop) == [("refused.start", "number.sends", 10)]


def test_what_the_ledger_did_not_take_is_counted_when_it_is_back(shop: Caller, monkeypatch: pytest.MonkeyPatch):
    def away(*_):
        raise LedgerUnavailableError("away")

    refuse(shop, 3)
    monkeypatch.setattr(Stats, "add", away)
    monkeypatch.setattr("otp_service.worker.recorder._UPKEEP_INTERVAL", 0.1)
    recorder = Recorder(shop.context, "recorder", 1.0, 0.2)
    recorder.start()
    try:
        assert eventually(lambda: shop.context.store.events.unrecorded() == 0)
        assert counted(shop) == []
        monkeypatch.undo()
        assert eventually(lambda: counted(shop) == [("refused.start", "number.sends", 3)])
    finally:
        recorder.stop()


def test_what_redis_no_longer_keeps_is_left_out_and_holds_up_nothing(shop: Caller, world: World):
    refuse(shop, 4)
    record_refusals(shop.context, BUCKETS)
    refuse(shop, 4, "+923007654321")
    last = shop.context.ledger.stats.position("00")
    world.client.xtrim(DECISIONS, maxlen=3, approximate=False)
    record_refusals(shop.context, BUCKETS)

    assert not world.client.xrange(DECISIONS, last, last), "the place that was counted up to has gone too"
    assert counted(shop) == [("refused.start", "number.sends", 7)]
    world.client.delete(DECISIONS)
    record_refusals(shop.context, BUCKETS)
    assert counted(shop) == [("refused.start", "number.sends", 7)]


def test_a_decision_that_cannot_be_understood_sets_no_event_aside(
    shop: Caller, world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("otp_service.worker.recorder._UPKEEP_INTERVAL", 0.0)
    monkeypatch.setattr("otp_service.worker.recorder.BATCH_SIZE", 1)
    world.client.xadd(DECISIONS, {"rule": "number.sends", "mode": "enforce", "kind": "start", "rule_hits": "broken"})
    world.client.pexpire(DECISIONS, HOUR)
    ones = {shop.start(f"+92300123456{last}") for last in range(5)}
    recorder = Recorder(shop.context, "recorder", 1.0, 0.2)
    recorder.start()
    try:
        assert eventually(lambda: shop.context.store.events.unrecorded() == 0)
    finally:
        recorder.stop()

    with shop.context.ledger.database.read() as connection:
        found = connection.execute(select(verifications.c.id).where(verifications.c.pseudonym != "")).scalars()
        assert {*found} == ones
