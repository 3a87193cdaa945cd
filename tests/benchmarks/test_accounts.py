"""The books of a storm notice each thing that must not be, and nothing else."""

from importlib.util import module_from_spec, spec_from_file_location

import pytest
from support_sources import ROOT


def _accounts():
    """Import the one file: its folder holds programs, and is on nobody's path."""
    spec = spec_from_file_location("accounts", ROOT / "benchmarks" / "accounts.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


accounts = _accounts()


def took(number=1, gateway="first", verification="one"):
    return accounts.Call(gateway, True, verification, 1, number)


def refused(number=1):
    return accounts.Call("first", False, "one", 1, number)


def told(status, gateway="first", reason="", choice="configured"):
    return accounts.Told(gateway, status, reason, choice)


SENT, FAILED, INTERRUPTED = told("sent"), told("failed", reason="http 500"), told("unknown", reason="interrupted")


def story(*dispatches):
    return {("one", 1, number): dispatch for number, dispatch in enumerate(dispatches, 1)}


def slots(*numbers, verification="one"):
    return {(verification, 1, number) for number in numbers}


def books(calls, dispatches, struck=()):
    return accounts.settle_books(["one"], calls, {"one": story(*dispatches)}, struck)


GOOD = {
    "taken at once": ([took()], [SENT], ()),
    "taken by another gateway": ([refused(), took(2, "second")], [FAILED, told("sent", "second")], ()),
    "taken before a kill, and again": ([took(), took(2)], [INTERRUPTED, SENT], slots(1)),
    "killed before the call": ([took(2)], [INTERRUPTED, SENT], slots(1)),
    "killed while it was refused": ([refused(), took(2)], [INTERRUPTED, SENT], slots(1)),
    "killed again and again": ([took(), took(2), took(3)], [INTERRUPTED, INTERRUPTED, SENT], slots(1, 2)),
    "stopped, and told what it had heard": ([took(), took(2)], [SENT, SENT], slots(1)),
    "stopped while it was connecting": ([took(2)], [FAILED, SENT], slots(1)),
    "stopped, and back before a third call": ([took(), refused(2)], [SENT, FAILED], slots(1)),
}
LOST, UNTOLD = "lost: no gateway took its message", "the story tells of nothing that was sent"
TWICE = "taken 2 times, 2 of them in calls that nothing interrupted"
FOLLOWED = "dispatch d1.1 was sent, and another one followed"
BAD = {
    "lost altogether": ([], [], (), [LOST, UNTOLD]),
    "given up": ([refused()], [FAILED], (), [LOST, UNTOLD]),
    "lost, and told as sent": ([], [SENT], (), [LOST, "dispatch d1.1: told as sent, but first saw nothing of it"]),
    "lost with the worker": ([], [INTERRUPTED], slots(1), [LOST, UNTOLD]),
    "sent twice": ([took(), took(2)], [SENT, SENT], (), [TWICE, FOLLOWED]),
    "sent twice, and another was struck": (
        [took(), took(2)],
        [SENT, SENT],
        slots(1, 2, verification="other"),
        [TWICE, FOLLOWED],
    ),
    "sent three times, and struck once": (
        [took(), took(2), took(3)],
        [INTERRUPTED, SENT, SENT],
        slots(1),
        [
            "taken 3 times, 2 of them in calls that nothing interrupted",
            "dispatch d1.2 was sent, and another one followed",
        ],
    ),
    "called once more after it was sent": ([took(), refused(2)], [SENT, FAILED], (), [FOLLOWED]),
    "one dispatch called twice": ([took(), took()], [SENT], slots(1), ["dispatch d1.1 called more than once"]),
    "told of another gateway": (
        [took()],
        [told("sent", "second")],
        (),
        ["dispatch d1.1: called first, but the story says second"],
    ),
    "told without a choice": (
        [took()],
        [told("sent", choice="")],
        (),
        ["dispatch d1.1: told without gateway or the reason of its choice (sent)"],
    ),
    "a message that still waits": (
        [took()],
        [SENT, told("queued", "", choice="")],
        (),
        [FOLLOWED, "dispatch d1.2: told without gateway or the reason of its choice (queued)"],
    ),
    "told as sent, and refused": (
        [took(), refused(2)],
        [FAILED, SENT],
        slots(1),
        [
            "dispatch d1.1: told as failed http 500, but first took it",
            "dispatch d1.2: told as sent, but first refused it",
        ],
    ),
    "told as failed, and taken": (
        [took()],
        [FAILED],
        (),
        ["dispatch d1.1: told as failed http 500, but first took it", UNTOLD],
    ),
    "failed without a call": (
        [took(2)],
        [FAILED, SENT],
        (),
        ["dispatch d1.1: told as failed http 500, but first saw nothing of it"],
    ),
    "an outcome that was never recorded": (
        [took()],
        [told("queued")],
        slots(1),
        ["dispatch d1.1: told as queued, but first took it", UNTOLD],
    ),
    "unknown, and nobody was struck": (
        [refused(), took(2)],
        [INTERRUPTED, SENT],
        slots(2),
        ["dispatch d1.1: told as unknown interrupted, but its worker was neither killed nor stopped"],
    ),
}


@pytest.mark.parametrize(("calls", "dispatches", "struck"), GOOD.values(), ids=GOOD)
def test_what_may_be_is_no_breach(calls, dispatches, struck):
    assert books(calls, dispatches, struck).breaches == ()


@pytest.mark.parametrize(("calls", "dispatches", "struck", "breaches"), BAD.values(), ids=BAD)
def test_what_must_not_be_is_a_breach(calls, dispatches, struck, breaches):
    assert books(calls, dispatches, struck).breaches == tuple(f"one: {breach}" for breach in breaches)


def test_a_call_that_is_not_told_is_a_breach():
    found = accounts.settle_books(["one"], [refused(), took(2)], {"one": {("one", 1, 2): SENT}}, ())

    assert found.breaches == ("one: the story lacks a call to first",)


def test_a_verification_without_a_story_is_a_breach():
    found = accounts.settle_books(["one"], [took()], {}, ())

    assert found.breaches == ("one: the story lacks a call to first", f"one: {UNTOLD}")


def test_a_message_that_nobody_had_started_is_a_breach():
    found = books([took(), took(verification="stranger")], [SENT])

    assert found.breaches == ("stranger: a gateway was called, but nobody had started it",)


def test_what_a_storm_comes_to_is_counted():
    stories = {"one": story(INTERRUPTED, INTERRUPTED, SENT), "two": {("two", 1, 1): SENT}, "three": {}, "four": {}}
    calls = [took(), took(2), took(3), took(verification="two")]
    found = accounts.settle_books(stories, calls, stories, slots(1, 2))

    assert (found.lost, found.repeated, found.surplus, found.uncertain) == (2, 1, 2, 2)


# --- the ledger --------------------------------------------------------------------------------------------------


def entry(word="sent", number=1, gateway="first", **members):
    return accounts.Entry(("one", 1, number), gateway, word, **members)


CUT = entry("unknown", reason="interrupted")
REPORT = entry("delivered", outcome=False)
DELIVERED = told("delivered")
IN_ORDER = {
    "taken": ([entry()], [took()], [SENT], ()),
    "taken and reported": ([entry(), REPORT], [took()], [DELIVERED], ()),
    "reported before its answer": ([REPORT, entry(stands="delivered")], [took()], [DELIVERED], ()),
    "failed over": (
        [entry("failed"), entry(number=2, gateway="second")],
        [refused(), took(2, "second")],
        [FAILED, told("sent", "second")],
        (),
    ),
    "killed in the call": ([CUT, entry(number=2)], [took(), took(2)], [INTERRUPTED, SENT], slots(1)),
    "killed before the call": ([CUT, entry(number=2)], [took(2)], [INTERRUPTED, SENT], slots(1)),
    "stopped, and told late": ([CUT, entry(), entry(number=2)], [took(), took(2)], [SENT, SENT], slots(1)),
}
OUT_OF_ORDER = {
    "call": ([], [took()], [], (), ["one: the ledger lacks the call d1.1"]),
    "interrupted call": ([entry(number=2)], [took(2)], [INTERRUPTED, SENT], slots(1), [
        "one: the ledger lacks the dispatch d1.1",
    ]),
    "invented": ([entry()], [], [SENT], (), ["one: in the ledger d1.1 was seen by no gateway"]),
    "interrupted by nobody": ([CUT], [], [INTERRUPTED], (), ["one: in the ledger d1.1 was seen by no gateway"]),
    "told twice": ([entry(), entry()], [took()], [SENT], (), [
        "one: in the ledger d1.1 has 2 outcomes, 0 of them interruptions",
    ]),
    "interrupted twice": ([CUT, CUT], [took()], [INTERRUPTED], slots(1), [
        "one: in the ledger d1.1 has 2 outcomes, 2 of them interruptions",
    ]),
    "reported only": ([REPORT], [took()], [DELIVERED], (), [
        "one: in the ledger d1.1 has 0 outcomes, 0 of them interruptions",
    ]),
    "another gateway": ([entry(gateway="second")], [took()], [SENT], (), [
        "one: in the ledger d1.1 is of another gateway",
        "one: in the ledger d1.1 is sent, and the API tells sent",
    ]),
    "another status": ([entry("failed")], [took()], [SENT], (), [
        "one: in the ledger d1.1 is failed, and the API tells sent",
    ]),
}  # fmt: skip


@pytest.mark.parametrize("run", IN_ORDER)
def test_a_ledger_that_has_all_calls_has_no_breach(run):
    entries, calls, dispatches, struck = IN_ORDER[run]

    assert accounts.settle_ledger(entries, calls, {"one": story(*dispatches)}, struck) == []


@pytest.mark.parametrize("run", OUT_OF_ORDER)
def test_a_ledger_that_is_not_what_happened_is_noticed(run):
    entries, calls, dispatches, struck, breaches = OUT_OF_ORDER[run]

    assert accounts.settle_ledger(entries, calls, {"one": story(*dispatches)}, struck) == breaches
