"""Hourly stats: the same in whichever order events come, however often, and counted anew from them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import pytest
from sqlalchemy import delete
from support_ledger_events import event, started

from otp_service.domain.audit import Event
from otp_service.domain.guard import HOUR
from otp_service.domain.stats import StatsCount, StatsKey
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.schema import hourly_delays, hourly_stats

AT = 1000 * HOUR
LAST = AT + HOUR - 1
"""The last millisecond of an hour: what follows a start belongs to its hour all the same."""
STORY = (
    started(at=LAST, guard="nc92300.bu3600 ", attempt="n|b||||||300000|92300"),
    event(
        "delivery.failed", at=LAST + 100, gateway="first", channel="sms", slot="d1.1", cost="0", reason="throttled 1"
    ),
    event("delivery.sent", at=LAST + 1500, gateway="second", channel="voice", slot="d1.2", cost="2500000"),
    event("check.failed", at=LAST + 9000, reason="wrong_code"),
    event("verification.approved", at=LAST + 45_000, reason="", known="0", guard="nc92300.bu3600 ", created=str(LAST)),
)


def stats(ledger: Ledger, *by: str) -> list[tuple[object, ...]]:
    return [(*one.of, one.times, one.amount) for one in ledger.stats.sums(0, 2 * AT, by or ("event",))]


def delays(ledger: Ledger) -> list[tuple[object, ...]]:
    return [(*one.of, one.times) for one in ledger.stats.sums(0, 2 * AT, ("event", "gateway", "at_most"), delays=True)]


@pytest.mark.parametrize("order", list(permutations(STORY))[::7])
def test_stats_do_not_depend_on_the_order_in_which_events_are_recorded(ledger: Ledger, order: Sequence[Event]) -> None:
    for one in order:
        ledger.verifications.record([one, one])

    by = ("hour", "country", "number_prefix", "channel", "gateway", "standing", "event", "reason")
    assert stats(ledger, *by) == [
        (AT, "PK", "92300", "sms", "", "unknown", "check.failed", "wrong_code", 1, 0),
        (AT, "PK", "92300", "sms", "", "unknown", "verification.approved", "", 1, 0),
        (AT, "PK", "92300", "sms", "", "unknown", "verification.started", "", 1, 0),
        (AT, "PK", "92300", "sms", "first", "unknown", "delivery.failed", "throttled", 1, 0),
        (AT, "PK", "92300", "voice", "second", "unknown", "delivery.sent", "", 1, 2_500_000),
    ]
    assert delays(ledger) == [("delivery.sent", "second", 2, 1), ("verification.approved", "", 60, 1)]


def test_of_an_end_that_is_told_once_more_the_first_one_counts(ledger: Ledger) -> None:
    ledger.verifications.record([started(at=AT), event("verification.approved", at=AT + 1)])
    ledger.verifications.record([event("verification.canceled", at=AT + 2), event("verification.approved", at=AT + 3)])

    assert stats(ledger) == [("verification.approved", 1, 0), ("verification.started", 1, 0)]


def test_a_providers_own_words_are_not_counted_apart(ledger: Ledger) -> None:
    words = (f"{30_000 + n} no such thing" for n in range(5))
    told = (
        event("delivery.undelivered", at=AT, gateway="one", channel="sms", slot="d1.1", reason=one) for one in words
    )
    ledger.verifications.record([started(at=AT), *told])

    assert ("delivery.undelivered", "other", 5, 0) in stats(ledger, "event", "reason")


def test_two_recorders_at_once_lose_nothing(ledger: Ledger) -> None:
    batches = [[one for n in range(20) for one in _story(f"vf_{half}_{n}")] for half in range(4)]
    split = [batch[part::2] for batch in batches for part in (1, 0)]  # ends before their starts, and after
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ledger.verifications.record, split))

    assert [times for _, times, _ in stats(ledger)] == [80, 80, 80, 80, 80]


def _story(name: str) -> list[Event]:
    return [Event(f"{one.id}{name}", one.at, one.type, {**one.fields, "id": name}) for one in STORY]


def test_they_are_counted_anew_from_events_as_they_were_written(ledger: Ledger) -> None:
    for n in range(3):
        ledger.verifications.record(_story(f"vf_{n}"))
    key = StatsKey(AT, "shop", "login", "PK", "", "", "", "known", "refused.start", "number.sends")
    assert ledger.stats.add("00", "", "5-0", {key: StatsCount(4, 0)})
    written = stats(ledger), delays(ledger)
    with ledger.database.write() as connection:
        connection.execute(delete(hourly_stats).where(hourly_stats.c.event != "refused.start"))
        connection.execute(delete(hourly_delays))
    assert stats(ledger) == [("refused.start", 4, 0)]

    assert sum(ledger.stats.recount()) == 3
    assert (stats(ledger), delays(ledger)) == written
    assert sum(ledger.stats.recount()) == 3
    assert (stats(ledger), delays(ledger)) == written


def test_entries_of_a_stream_count_once_whoever_counts_them(ledger: Ledger) -> None:
    key = StatsKey(AT, "shop", "login", "PK", "", "", "", "", "refused.start", "number.sends")
    with ThreadPoolExecutor(4) as pool:
        mine = list(pool.map(lambda _: ledger.stats.add("00", "", "7-0", {key: StatsCount(2, 0)}), range(4)))

    assert sorted(mine) == [False, False, False, True]
    assert ledger.stats.position("00") == "7-0"
    assert stats(ledger) == [("refused.start", 2, 0)]


def test_sums_are_by_what_is_asked_and_of_what_is_asked(ledger: Ledger) -> None:
    for day in range(3):
        story = [
            Event(f"{one.id}{day}", one.at + day * 24 * HOUR, one.type, {**one.fields, "id": str(day)}) for one in STORY
        ]
        ledger.verifications.record(story)

    started_a_day = ledger.stats.sums(AT, AT + 48 * HOUR, ("day",), event={"verification.started"})
    assert [(one.of, one.times) for one in started_a_day] == [((AT - 16 * HOUR,), 1), ((AT + 8 * HOUR,), 1)]
    assert ledger.stats.sums(AT, 2 * AT, ("hour",), country={"GB"}) == []
    assert ledger.stats.sums(AT, 2 * AT, (), country={"GB"}) == []
