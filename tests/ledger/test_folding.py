"""Verifications that have one row each: it tells what the rows of their events would."""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict

import pytest
from sqlalchemy import delete, func, select, update
from support_ledger import another_ledger
from support_ledger_events import NUMBER, event, started

from otp_service.domain.audit import Event
from otp_service.domain.guard import HOUR
from otp_service.ledger.audit import COVERED, DisputeFilter, IncidentScope, digest_of_row
from otp_service.ledger.ledger import Ledger, open_ledger
from otp_service.ledger.schema import audit, events, hourly_delays, hourly_stats, verifications

AT = 1000 * HOUR
BY = ("hour", "country", "number_prefix", "channel", "gateway", "standing", "what", "reason")


@pytest.fixture
def other() -> Iterator[Ledger]:
    """A ledger with rows of events."""
    opened = open_ledger(another_ledger(), 10.0)
    yield opened
    opened.database.close()


def _story(name: str = "vf_1", at: int = AT, end: str = "verification.approved") -> list[Event]:
    story = [
        started(name, at, guard="nc92300.bu3600 ", sending="n|b||||||300000|92300", expires=str(at + 300_000)),
        event("delivery.failed", name, at + 100, gateway="first", channel="sms", slot="d1.1", reason="throttled 1"),
        event("delivery.sent", name, at + 1500, gateway="second", channel="voice", slot="d1.2", cost="2500000",
              choice="fail_over", reference="SM1"),
        event("check.failed", name, at + 9000, reason="wrong_code"),
    ]  # fmt: skip
    return [*story, event(end, name, at + 45_000)] if end else story


def _late(name: str = "vf_1", at: int = AT) -> Event:
    return event(
        "delivery.delivered", name, at + 60_000, gateway="second", channel="voice", slot="d1.2", raw_status="ok"
    )


def _counts(ledger: Ledger) -> dict[str, int]:
    with ledger.database.read() as connection:
        return {
            one.name: connection.execute(select(func.count()).select_from(one)).scalar_one()
            for one in (verifications, events, audit)
        }


def _stats(ledger: Ledger) -> tuple[object, ...]:
    sums = ledger.stats.sums(0, 2 * AT, BY), ledger.stats.delays(0, 2 * AT, ("what", "gateway", "at_most"))
    return tuple(tuple((one.of, one.times, one.amount) for one in some) for some in sums)


def _recounted(ledger: Ledger) -> tuple[object, ...]:
    with ledger.database.write() as connection:
        connection.execute(delete(hourly_stats))
        connection.execute(delete(hourly_delays))
    assert sum(ledger.stats.recount())
    return _stats(ledger)


def _told(ledger: Ledger) -> list[object]:
    """Return all that is exported of the number, but for the times at which it was asked."""
    return [asdict(one) for one in ledger.subjects.export(NUMBER, None).verifications]


def _flaws(ledger: Ledger) -> list[str]:
    """Return the rows that are not as the chain has them, or that it does not have."""
    changed = [link.entry.row for link in ledger.audit.links(0, 1000) if link.entry.digest != link.digest]
    return changed + [row for rows in ledger.audit.unlinked_rows(0, 1000).values() for row in rows]


def test_a_verification_that_is_over_has_one_row_and_one_entry(ledger: Ledger) -> None:
    recorded = ledger.verifications.record(_story(), ["vf_1"])

    assert recorded.new == 5
    assert _counts(ledger) == {"verifications": 1, "events": 0, "audit": 1}
    assert _flaws(ledger) == []


def test_it_tells_what_rows_of_events_would(ledger: Ledger, other: Ledger) -> None:
    stories = [_story(), _story("vf_2", AT + 1000, "verification.canceled"), _story("vf_3", AT + 2000, "")]
    for story in stories:
        ledger.verifications.record(story, [story[0].member("id")])
        other.verifications.record(story)
    names = ["vf_1", "vf_2", "vf_3"]
    span = IncidentScope(AT, AT + HOUR)

    assert _told(ledger) == _told(other)
    assert ledger.verifications.events_of(names) == other.verifications.events_of(names)
    assert ledger.verifications.find("vf_2") == other.verifications.find("vf_2")
    assert _stats(ledger) == _stats(other)
    assert ledger.incidents.count(span) == other.incidents.count(span)
    for gateway in ("first", "second", "sec", "%"):
        told = [one.verifications.last_sender(NUMBER, gateway, AT) for one in (ledger, other)]
        assert told[0] == told[1], gateway


def test_stats_that_are_counted_anew_are_the_same(ledger: Ledger) -> None:
    for n in range(3):
        ledger.verifications.record(_story(f"vf_{n}"), [f"vf_{n}"])
    ledger.verifications.record([_late("vf_1")], ())
    written = _stats(ledger)

    assert _recounted(ledger) == written


def test_what_comes_later_has_a_row_and_counts(ledger: Ledger, other: Ledger) -> None:
    story = _story()
    ledger.verifications.record(story, ["vf_1"])
    late = _late()
    ledger.verifications.record([late], ())
    other.verifications.record([*story, late])

    assert _counts(ledger) == {"verifications": 1, "events": 1, "audit": 2}
    assert _told(ledger) == _told(other)
    assert _stats(ledger) == _stats(other)
    assert _flaws(ledger) == []


@pytest.mark.parametrize("whole", [["vf_1"], ()], ids=["as one row", "as events"])
def test_what_is_read_twice_is_there_once(ledger: Ledger, whole: Collection[str]) -> None:
    story = _story()
    ledger.verifications.record(story, ["vf_1"])
    before = _counts(ledger), _stats(ledger), _told(ledger)
    again = ledger.verifications.record(story, whole)

    assert again.new == 0
    assert (_counts(ledger), _stats(ledger), _told(ledger)) == before


def test_an_end_that_came_first_leaves_room_for_the_rest(ledger: Ledger, other: Ledger) -> None:
    *before, end = _story()
    ledger.verifications.record([end], ())
    ledger.verifications.record(before, ["vf_1"])
    other.verifications.record([*before, end])

    assert _counts(ledger) == {"verifications": 1, "events": 1, "audit": 2}
    assert _told(ledger) == _told(other)
    assert _stats(ledger) == _stats(other)


def test_a_row_keeps_what_it_holds_when_a_restored_redis_begins_once_more(ledger: Ledger) -> None:
    ledger.verifications.record(_story(), ["vf_1"])
    ledger.verifications.record([_story()[0]], ["vf_1"])

    assert _counts(ledger)["events"] == 1
    assert len(ledger.verifications.events_of(["vf_1"])["vf_1"]) == 6


def test_a_row_whose_events_are_changed_is_a_flaw(ledger: Ledger) -> None:
    ledger.verifications.record(_story(), ["vf_1"])
    for text in ("", "[]"):
        with ledger.database.write() as connection:
            connection.execute(update(verifications).values(happened=text))
        assert _flaws(ledger) == ["vf_1"]


def test_a_dispute_has_the_row_with_its_proof(ledger: Ledger) -> None:
    ledger.verifications.record(_story(), ["vf_1"])
    (row,) = ledger.disputes.find(DisputeFilter(verification="vf_1"))

    assert row.entry
    assert row.entry.digest == digest_of_row(
        COVERED["verifications"], {**dict.fromkeys(verifications.c.keys()), **row.row}
    )
    assert "SM1" in row.row["happened"]


@pytest.mark.parametrize("seed", range(25))
def test_two_recorders_with_parts_of_a_story_lose_nothing_and_count_nothing_twice(
    ledger: Ledger, other: Ledger, seed: int
) -> None:
    """Parts, in any order, some of them twice, some of them as one row."""
    chance = random.Random(seed)
    stories = [
        [*_story(f"vf_{n}", AT + n, chance.choice(["verification.approved", ""])), _late(f"vf_{n}")] for n in range(3)
    ]
    calls: list[tuple[Sequence[Event], Collection[str]]] = []
    for story in stories:
        cut = chance.randrange(len(story) + 1)
        parts = [story[:cut], story[cut:], story] if chance.random() < 0.5 else [story[:cut], story[cut:]]
        calls += [(part, chance.choice([(), (story[0].member("id"),)])) for part in parts if part]
        other.verifications.record(story)
    chance.shuffle(calls)
    for part, whole in calls:
        ledger.verifications.record(part, whole)

    assert _stats(ledger) == _stats(other)
    assert _told(ledger) == _told(other)
    assert _recounted(ledger) == _stats(other)
    assert _flaws(ledger) == []
