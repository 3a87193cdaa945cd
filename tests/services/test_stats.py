"""What is asked of the stats: sums by what is asked, what is unfinished, and what is shown to whom."""

import itertools
from collections.abc import Iterator

import pytest
from support_installation import World
from support_ledger_events import event
from support_stats import AT, record, refuse, stories, story

from otp_service.clock import now
from otp_service.domain.guard import DAY, HOUR
from otp_service.errors import InvalidTimeError
from otp_service.services import stats
from otp_service.services.context import Context
from otp_service.services.stats import (
    StatsQuery,
    StatsText,
    count_delays,
    count_messages,
    count_refusals,
    count_verifications,
)

EXACT, ROUNDED = StatsText(exact=True), StatsText(exact=False)


@pytest.fixture
def context(world: World, ledger_url: str) -> Iterator[Context]:
    made = world.install(ledger={"url": ledger_url}).context
    yield made
    made.ledger.database.close()


def asked(*by: str, since: int = AT, until: int = AT + HOUR, application: str | None = None) -> StatsQuery:
    return StatsQuery(since, until, by, {"application": [application]} if application else {})


def test_verifications_by_anything(context: Context):
    record(
        context.ledger,
        stories(3, "a"),
        stories(2, "b", end="", country="GB", channel="voice"),
        stories(1, "c", end="canceled", sent=False, application="bank"),
        stories(1, "d", end="max_attempts_reached"),
    )
    by_country = count_verifications(context, asked("country", "channel"))

    assert [(one.country, one.channel, one.started, one.approved, one.expired) for one in by_country] == [
        ("GB", "voice", 2, 0, 2),
        ("PK", "sms", 5, 3, 0),
    ]
    pakistan = by_country[1]
    assert (pakistan.canceled, pakistan.max_attempts_reached, pakistan.failed, pakistan.unapproved) == (1, 1, 0, 2)
    assert (pakistan.sent, pakistan.delivered, pakistan.amount) == (4, 4, 10_000_000)
    assert pakistan.estimated_unapproved_amount == 4_000_000
    (of_shop,) = count_verifications(context, asked("application", application="shop"))
    assert (of_shop.application, of_shop.country, of_shop.started) == ("shop", None, 6)
    assert stats.add_up(by_country, "country") == count_verifications(context, asked("country"))
    assert stats.add_up(by_country) == count_verifications(context, asked())
    (unasked,) = count_verifications(context, asked(), first_messages=False)
    assert (unasked.started, unasked.sent) == (7, None)
    assert stats.add_up([unasked]) == [unasked]
    for by in stats.BY_VERIFICATION:
        rows = count_verifications(context, asked(by))
        assert sum(one.started for one in rows) == 7
        assert all(getattr(row, other) is None for row in rows for other in stats.BY_VERIFICATION if other != by)


def test_what_delays_are_not_counted_by_is_not_known_of_first_messages(context: Context):
    record(context.ledger, stories(1, "a"))
    (row,) = count_verifications(context, asked("standing"))

    assert (row.standing, row.sent, row.delivered) == ("unknown", None, None)


def test_no_more_first_messages_were_sent_than_started(context: Context):
    twice = {"gateway": "backup", "channel": "sms", "slot": "d1.2"}
    record(context.ledger, [*story("vf_1"), event("delivery.sent", "vf_1", AT + 3000, **twice, cost="0")])
    (row,) = count_verifications(context, asked())

    assert (row.started, row.sent) == (1, 1)
    (messages,) = count_messages(context, asked())
    assert (messages.sent, messages.calls) == (2, 2)


def test_messages_by_gateway_and_reason(context: Context):
    failed = {"gateway": "backup", "channel": "sms", "slot": "d1.1", "cost": "0"}
    record(
        context.ledger,
        stories(2, "a"),
        [
            *story("vf_x", sent=False, end=""),
            event("delivery.failed", "vf_x", AT + 100, **failed, reason="throttled"),
            event("delivery.unknown", "vf_x", AT + 200, **{**failed, "cost": "1000000"}, reason="30005 what ever"),
            event("message.given_up", "vf_x", AT + 300, channel="sms", reason="expired"),
        ],
    )
    rows = count_messages(context, asked("gateway", "reason"))

    assert [(one.gateway, one.reason, one.calls, one.given_up, one.amount) for one in rows] == [
        (None, "expired", 0, 1, 0),
        ("backup", "other", 1, 0, 1_000_000),
        ("backup", "throttled", 1, 0, 0),
        ("primary", None, 2, 0, 5_000_000),
    ]
    assert [(one.sent, one.delivered, one.failed, one.unknown) for one in rows[1:]] == [
        (0, 0, 0, 1),
        (0, 0, 1, 0),
        (2, 2, 0, 0),
    ]


def test_a_report_is_no_further_call(context: Context):
    about = {"gateway": "primary", "channel": "sms", "slot": "d1.1", "reason": ""}
    report = {**about, "raw_status": "REJECTD"}
    record(
        context.ledger,
        [*story("vf_1", sent=False), event("delivery.sent", "vf_1", AT + 100, **about, cost="1")],
        [event("delivery.failed", "vf_1", AT + 200, **report), event("delivery.unknown", "vf_1", AT + 300, **report)],
        [*story("vf_2", sent=False), event("delivery.unknown", "vf_2", AT + 100, **about, cost="1")],
        [event("delivery.sent", "vf_2", AT + 200, **report)],
        [*story("vf_3", sent=False), event("delivery.failed", "vf_3", AT + 100, **{**about, "gateway": ""}, cost="0")],
    )
    (row,) = count_messages(context, asked())

    assert (row.calls, row.sent, row.unknown, row.failed, row.undelivered, row.unreported) == (2, 1, 1, 0, 1, 1)


def test_what_another_gateway_took_over_is_counted_of_the_other_one(context: Context):
    call = {"channel": "sms", "cost": "0", "reason": ""}
    first, second = ({**call, "gateway": name, "slot": f"d1.{n}", "choice": choice}
                     for n, name, choice in ((1, "primary", "configured"), (2, "backup", "fail_over")))  # fmt: skip
    record(
        context.ledger,
        [*story("vf_1", sent=False), event("delivery.failed", "vf_1", AT + 100, **first)],
        [event("delivery.sent", "vf_1", AT + 200, **second)],
        [event("delivery.delivered", "vf_1", AT + 300, **second, raw_status="DELIVRD")],
    )
    rows = count_messages(context, asked("gateway"))
    sum(context.ledger.stats.recount())

    assert [(one.gateway, one.calls, one.bad, one.failed_over) for one in rows] == [
        ("backup", 1, 0, 1),
        ("primary", 1, 1, 0),
    ]
    assert count_messages(context, asked("gateway")) == rows


def test_refusals_by_rule_and_kind(context: Context):
    refuse(context.ledger, 3)
    refuse(context.ledger, 2, what="refused.resend")
    refuse(context.ledger, 4, rule="block.starts", what="would_be_refused.start")
    rows = count_refusals(context, asked("rule"))

    assert [(one.rule, one.refused, one.would_be_refused) for one in rows] == [
        ("block.starts", {}, {"start": 4}),
        ("number.sends", {"start": 3, "resend": 2}, {}),
    ]


def test_delays_are_read_off_their_histogram(context: Context):
    record(context.ledger, stories(19, "a"), stories(1, "b", at=AT + 1))
    late = {"gateway": "primary", "channel": "sms", "slot": "d1.1"}
    record(
        context.ledger,
        [*story("vf_late", sent=False, end=""), event("delivery.sent", "vf_late", AT + 301_000, **late, cost="0")],
    )
    delivered, sent, approved = sorted(
        count_delays(context, asked()), key=lambda one: ["delivered", "sent", "approved"].index(one.until)
    )

    within = {bound.at_most_ms: bound.times for bound in sent.within}
    assert (sent.times, within[1000], within[2000], within[300_000]) == (21, 0, 20, 20)
    assert (sent.p50_ms, sent.p95_ms) == (2000, 2000)
    assert (delivered.p95_ms, approved.p95_ms) == (5000, 20_000)
    assert (EXACT.seconds(sent, 0.95), EXACT.seconds(sent, 1.0), EXACT.seconds(None, 0.5)) == ("2", "> 300", "-")
    assert ROUNDED.seconds(sent, 0.95) == "-"


def test_a_row_is_unfinished_while_its_codes_may_live(context: Context):
    begin = now() - now() % HOUR
    record(context.ledger, stories(1, "new", at=begin), stories(1, "old", at=begin - 2 * HOUR))
    rows = count_verifications(context, asked("hour", since=begin - 3 * HOUR, until=begin + HOUR))

    assert [(one.hour, one.unfinished) for one in rows] == [(begin - 2 * HOUR, False), (begin, True)]
    assert [
        one.unfinished for one in count_verifications(context, asked(since=begin - 3 * HOUR, until=begin - HOUR))
    ] == [False]
    assert [one.unfinished for one in count_delays(context, asked("day", since=begin - HOUR, until=begin + HOUR))] == [
        True,
        True,
        True,
    ]
    assert asked("day", since=AT, until=AT + DAY).is_unfinished(day=AT) is False


def test_what_ended_twenty_minutes_ago_is_finished():
    """A code lives ten minutes at most, and its record ten more; receipts come to nothing after that."""
    minute = 60_000

    assert asked(since=0, until=now() - 19 * minute).is_unfinished()
    assert not asked(since=0, until=now() - 21 * minute).is_unfinished()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (asked(until=AT), "ends before"),
        (asked("hour", until=AT + 31 * DAY + 1), "longer than 31 days by hour"),
        (asked("day", until=AT + 400 * DAY + 1), "longer than 400 days"),
    ],
)
def test_a_time_that_cannot_be_used_is_refused(context: Context, query: StatsQuery, says: str):
    for ask in (count_verifications, count_messages, count_refusals, count_delays):
        with pytest.raises(InvalidTimeError, match=says):
            ask(context, query)


def test_what_would_be_too_much_is_refused(context: Context, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stats, "MAX_SUMS", 3)
    record(context.ledger, stories(1, "a"), stories(1, "b", country="GB"))

    assert count_delays(context, asked())
    assert count_verifications(context, asked())
    with pytest.raises(InvalidTimeError, match="too many"):
        count_verifications(context, asked("country"))


# --- small counts -----------------------------------------------------------------------------------------------


def test_exact_stats_are_shown_as_they_are():
    assert [EXACT.count(one) for one in (0, 3, 17, None)] == ["0", "3", "17", "-"]
    assert (EXACT.amount(7_500_000, 3), EXACT.share(1, 3), EXACT.share(0, 0)) == ("7.50", "33.3 %", "-")


def test_small_counts_are_hidden_and_all_others_rounded():
    assert [ROUNDED.count(one) for one in (0, 1, 9, 10, 14, 15, 104, None)] == [
        "0", "< 10", "< 10", "10", "10", "20", "100", "-",
    ]  # fmt: skip
    assert [ROUNDED.amount(2_500_000 * one, one) for one in (0, 3, 14)] == ["0.00", "-", "25.00"]
    assert [ROUNDED.share(*one) for one in ((12, 15), (3, 1000), (98, 101), (0, 200))] == ["-", "-", "100 %", "0 %"]


@pytest.mark.parametrize("neighbours", [(17,), (123, 48), (10, 999, 31)])
def test_a_hidden_count_is_not_what_a_total_less_its_neighbours_says(neighbours: tuple[int, ...]):
    """What is shown leaves each small count possible: by itself, and beside neighbours that are shown alike."""
    for hidden in range(1, 10):
        shown = [ROUNDED.count(one) for one in (*neighbours, sum(neighbours) + hidden)]
        fits = {
            small
            for small in range(1, 10)
            for shifts in itertools.product(range(-9, 10), repeat=len(neighbours))
            if [
                *(ROUNDED.count(one + shift) for one, shift in zip(neighbours, shifts, strict=True)),
                ROUNDED.count(sum(neighbours) + sum(shifts) + small),
            ]
            == shown
        }
        assert len(fits) >= 8
