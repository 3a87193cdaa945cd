"""The books of a load run notice each thing that must not be, and nothing else."""

from dataclasses import replace

import pytest
from support_programs import programs_of

journal, books = programs_of("load", "journal", "books")
NUMBER, ONE = "+923001234567", "vf_one"
AWAY, KILLED = books.Strike("redis", 100.0, 105.0), books.Strike("worker", 50.0, 50.1)


def entry(call="start", status=201, *, key="k1", at=10.0, **members):
    members = {"number": NUMBER, "verification": ONE if status in {200, 201, 202} else "", **members}
    return journal.Entry(scenario="login", call=call, key=key, began=at - 0.01, at=at, status=status, **members)


def sent(message=1, status="delivered", gateway="primary", reason="", begun=10.0):
    return books.Dispatch(message, gateway, status, reason, begun)


def told(*dispatches, status="pending"):
    return {ONE: books.Told(status, dispatches or (sent(),))}


def took(dispatch="dp_1", *, accepted=True, lost=False, reported=False, gateway="primary", to=NUMBER):
    return books.Taken(gateway, dispatch, to, accepted, lost, reported, 10.1)


def settle(entries=None, stories=None, taken=None, strikes=(), counted=None):
    entries = [entry()] if entries is None else entries
    stories = told() if stories is None else stories
    return books.settle(entries, stories, [took()] if taken is None else taken, strikes, counted)


def test_a_run_in_which_all_is_well_has_no_breach():
    entries = [entry(), entry("check", 200, key="k2", valid=True)]
    settled = settle(entries, told(status="approved"), counted=1)

    assert settled.breaches == []
    assert settled.figures["messages accepted"] == settled.figures["of them delivered to a gateway"] == 1
    assert settled.figures["approved"] == 1


FAILED_OVER = (sent(status="failed", reason="error http 500"), sent(gateway="backup"))
UNHEARD = [entry(status=503, key="k9", at=101.0, number="+923001112233")]


@pytest.mark.parametrize(
    "run",
    [
        {"stories": told(*FAILED_OVER), "taken": [took(accepted=False), took("dp_2", gateway="backup")]},
        {"entries": [entry(status=503, at=101.0, code="store-unavailable"), entry(at=103.0)], "strikes": [AWAY]},
        {"stories": told(sent(status="failed", gateway="", reason="no_gateway")), "taken": []},
        {"stories": told(sent(status="queued", gateway=""), status="canceled"), "taken": []},
        {
            "entries": [entry(), *UNHEARD],
            "taken": [took(), took("dp_9", to="+923001112233")],
            "strikes": [AWAY],
        },
        {
            "stories": told(sent(status="unknown", reason="interrupted", begun=49.0), sent()),
            "taken": [took(), took("dp_2")],
            "strikes": [KILLED],
        },
        {
            "stories": told(sent(status="unknown", reason="interrupted", begun=49.0), sent()),
            "strikes": [KILLED],
        },
        {"stories": told(sent(begun=49.0), sent(begun=58.0)), "taken": [took(), took("dp_2")], "strikes": [KILLED]},
        {"stories": told(sent(status="undelivered")), "taken": [took(lost=True, reported=True)]},
        {"stories": told(sent(status="sent")), "taken": [took(lost=True)]},
    ],
    ids=[
        "fail-over",
        "503 and again",
        "reported",
        "canceled first",
        "a lost start",
        "sent twice",
        "never called",
        "sent twice, and the first one reported meanwhile",
        "lost",
        "lost, and not reported yet",
    ],
)
def test_what_may_be_is_no_breach(run):
    assert settle(**run).breaches == []


LOST, LOST_TWICE = [entry(status=503, at=101.0)], [took(), took("dp_2")]
LOST_THROUGH_BOTH = [took(), took("dp_2", gateway="backup")]
MIXED = [entry(), entry(status=503, key="k9", at=101.0)]
CHECKS = [entry(), entry("check", 200, key="k2", valid=True), entry("check", 200, key="k3", valid=True)]


@pytest.mark.parametrize(
    ("run", "told_so"),
    [
        ({"stories": {}}, "the API knows nothing of it"),
        ({"stories": told(sent(status="queued", gateway="")), "taken": []}, "neither delivered nor reported"),
        ({"taken": []}, "1 sent, 0 refused, 0 unknown are recorded, the sink accepted 0"),
        ({"taken": [took(), took("dp_2")]}, "the sink accepted 2"),
        ({"taken": [took(), took()]}, "dispatch dp_1 came more than once"),
        ({"taken": [took(), took("dp_2", to="+923009999999")]}, "+923009999999 through primary"),
        ({"stories": told(sent(), sent())}, "told to be sent more than once"),
        ({"stories": told(sent(begun=40.0), sent(begun=58.0)), "strikes": [KILLED]}, "told to be sent more than once"),
        ({"stories": told(sent(), sent(2)), "taken": [took(), took("dp_2")]}, "1 messages were accepted"),
        ({"entries": [entry(), entry("resend", 202, key="k2")]}, "2 messages were accepted"),
        ({"entries": CHECKS, "stories": told(status="approved")}, "approved 2 times"),
        ({"entries": CHECKS[:2]}, "a check was right, and its status is pending"),
        ({"stories": told(status="approved")}, "its status is approved, and no check was right"),
        ({"entries": [entry(), entry(verification="vf_two")]}, "one key was answered for 2 verifications"),
        ({"entries": [entry(), entry("check", 200, key="k2", surprise="answered 500")]}, "answered 500"),
        ({"entries": [entry(status=503, key="k1"), entry()]}, "while Redis was there"),
        ({"entries": [entry(status=503, at=108.0), entry()], "strikes": [AWAY]}, "while Redis was there"),
        ({"entries": [entry(), entry("check", 0, key="k2")], "strikes": [AWAY]}, "no answer"),
        ({"stories": told(sent(status="unknown"))}, "nothing struck the worker"),
        ({"stories": told(sent(status="unknown", begun=60.0)), "strikes": [KILLED]}, "nothing struck the worker"),
        ({"entries": LOST, "taken": LOST_TWICE, "stories": {}, "strikes": [AWAY]}, "the sink accepted 2"),
        ({"entries": LOST, "taken": LOST_THROUGH_BOTH, "stories": {}, "strikes": [AWAY]}, "through all gateways"),
        ({"entries": MIXED, "taken": [took(accepted=False)] * 2, "strikes": [AWAY]}, "1 sent, 0 refused"),
        ({"stories": told(sent(status="sent")), "taken": [took(reported=True)]}, "1 reports, and 0 are recorded"),
        ({"taken": [took(lost=True, reported=True)]}, "1 delivered, 0 undelivered are recorded"),
        ({"stories": told(sent(status="undelivered"))}, "0 delivered, 1 undelivered are recorded"),
        ({"counted": 2}, "the metrics count 2 accepted starts, and 1 were answered by 201"),
    ],
)
def test_what_must_not_be_is_a_breach(run, told_so):
    assert [one for one in settle(**run).breaches if told_so in one]


def test_calls_for_starts_that_nobody_was_told_of_are_listed_apart():
    settled = settle([entry(), *UNHEARD], taken=[took(), took("dp_9", to="+923001112233")], strikes=[AWAY])

    assert settled.figures["starts answered by 503 to the end"] == 1
    assert settled.figures["calls to the sink for these"] == 1


def test_what_the_journal_writes_it_reads(tmp_path):
    path = tmp_path / "calls.jsonl"
    entries = [entry(), replace(entry("check", 200), valid=False, reason="wrong_code")]
    with path.open("w") as lines:
        for one in entries:
            journal.Journal(lines).note(one)

    assert journal.read(path) == entries


def test_a_server_that_takes_over_is_waited_for_once_and_no_longer_than_it_may_take():
    early = entry(status=503, key="k2", at=91.0, code="overloaded")
    away = [entry(status=503, key="k2", at=at, code="store-unavailable") for at in (101.0, 104.0, 112.0)]
    entries = [entry(), early, *away]
    strike = books.take_over(entries, 10.0)

    assert (strike.what, strike.began, strike.ended) == ("redis", pytest.approx(100.99), 104.0)
    assert settle(entries, strikes=[strike]).breaches == [
        f"login start {NUMBER}: answered by 503 {code} while Redis was there"
        for code in ("overloaded", "store-unavailable")
    ]
    assert books.take_over([entry()], 10.0) is None
