"""Races for what the guard counts: budgets, trust and ceilings hold to the last one, whatever comes at once."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from support_caller import Caller
from support_guard import approve, modes, number, spent
from support_installation import tree
from support_outbox import Scripted, Sender, dispatched, jobs_of
from support_race_actions import call_twice, guess_some, settle_unknown, start_some
from support_racers import Racers, racing
from support_valkey import ValkeyServer

from otp_service.bootstrap import Installation

COUNT, AT_ONCE = 5, 10
"""Processes, and threads in each: fifty requests at once."""
ROUNDS = range(3)
KNOWN = "own phone"


def _sections(url: str) -> dict[str, Any]:
    own = tree(url)["applications"]
    prices = {name: {"kind": "sandbox", "prices": {"*": "0.7"}} for name in ("sandbox", "first", "second")}
    return {
        "guard": {"modes": modes("number.sends", "number.guesses", "spend.application")},
        "limits": {"number": ["10/day"], "failed_checks": ["10/day"], "ip": [], "application": []},
        "purposes": {"login": {"resend_delays": [0], "max_sends": 5, "max_checks": 5, "channels": ["sms"]}},
        "applications": {**own, "shop": {**own["shop"], "spend": {"day": "20"}}},
        "gateways": prices,
        "routes": [{"gateways": ["first", "second"]}],
    }


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Racers, Installation, ValkeyServer]]:
    valkey = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    try:
        with racing(COUNT, valkey.url, **_sections(valkey.url)) as (racers, installation):
            yield racers, installation, valkey
    finally:
        valkey.stop()


@pytest.fixture
def racers(track: tuple[Racers, Installation, ValkeyServer]) -> Racers:
    track[2].client.flushall()
    track[1].context.mirror_sync.refresh()
    return track[0]


@pytest.fixture
def shop(track: tuple[Racers, Installation, ValkeyServer]) -> Caller:
    return Caller(track[1])


def _race_starts(racers: Racers, given: list[tuple[str, str | None]]) -> list[bool]:
    """Start all of it at once; return what passed, in the same order."""
    parts = [given[place::COUNT] for place in range(COUNT)]
    answers = racers.race(start_some, parts)
    return [answers[place % COUNT][place // COUNT] for place in range(len(given))]


@pytest.mark.parametrize("repetition", ROUNDS)
def test_fifty_starts_at_the_edge_of_a_ceiling_do_not_pass_it_by_a_cent(
    racers: Racers, shop: Caller, repetition: int
) -> None:
    for last in range(20):
        shop.start(number(last))
    starts = [(number(100 + last), None) for last in range(COUNT * AT_ONCE)]
    accepted = sum(_race_starts(racers, starts))

    assert accepted == 8, "with the first twenty that is 28 at 0.70: 19.60 of 20"
    assert spent(shop) == {"day": 19.6}
    sender = Sender(shop, first=Scripted(), second=Scripted())
    sender.deliver()
    assert len(sender.sent()) == 28, "the gateway took everything"
    assert spent(shop) == {"day": 19.6}
    assert sum(_race_starts(racers, starts)) == 0


@pytest.mark.parametrize("repetition", ROUNDS)
def test_workers_that_all_have_to_call_again_do_not_pass_the_ceiling(
    racers: Racers, shop: Caller, repetition: int
) -> None:
    """Twenty messages are reserved with 14.00: for eight further calls there is room."""
    for last in range(20):
        shop.start(number(last))
    jobs = jobs_of(shop.context)
    calls = sum(racers.race(call_twice, [jobs[place::COUNT] for place in range(COUNT)]))

    assert calls == 28
    assert spent(shop) == {"day": 19.6}


@pytest.mark.parametrize("repetition", ROUNDS)
def test_a_call_that_is_settled_many_times_at_once_costs_once(racers: Racers, shop: Caller, repetition: int) -> None:
    for last in (1, 2):
        shop.start(number(last))
    job, _ = jobs_of(shop.context)
    made = dispatched(shop.context, job)
    racers.race(settle_unknown, [(job, made, 100_000)] * COUNT)

    assert spent(shop) == {"day": 0.8}


@pytest.mark.parametrize("repetition", ROUNDS)
def test_guesses_at_once_over_verifications_and_resends_are_compared_to_the_budget_and_not_beyond(
    racers: Racers, shop: Caller, repetition: int
) -> None:
    ones = [shop.start(number(1)) for _ in range(5)]
    wrong = [(ones[place % 5], f"{(int(shop.code(ones[place % 5])) + 1 + place) % 10**6:06}") for place in range(50)]
    reasons = Counter(
        one for part in racers.race(guess_some, [wrong[at::COUNT] for at in range(COUNT)]) for one in part
    )

    assert reasons["wrong_code"] == 10
    assert sum(reasons.values()) == 50
    assert reasons.keys() <= {"wrong_code", "number_locked", "max_attempts_reached"}


@pytest.mark.parametrize("repetition", ROUNDS)
def test_guesses_from_known_and_unknown_contexts_at_once_are_together_as_many_as_the_budget(
    racers: Racers, shop: Caller, repetition: int
) -> None:
    approve(shop, number(1), context=KNOWN)
    strange = [shop.start(number(1)) for _ in range(3)]
    own = [shop.start(number(1), context=KNOWN) for _ in range(3)]
    tries = [(one, f"{(int(shop.code(one)) + 1) % 10**6:06}") for _ in range(8) for one in (*strange, *own)]
    answers = racers.race(guess_some, [tries[at::COUNT] for at in range(COUNT)])
    compared = Counter[str]()
    for at, part in enumerate(answers):
        for (one, _), reason in zip(tries[at::COUNT], part, strict=True):
            compared["strange" if one in strange else "own"] += reason == "wrong_code"

    assert compared.total() == 10
    assert compared["strange"] <= 6


@pytest.mark.parametrize("repetition", ROUNDS)
def test_starts_from_known_and_unknown_contexts_at_once_are_together_as_many_as_the_number_may_have(
    racers: Racers, shop: Caller, repetition: int
) -> None:
    approve(shop, number(1), context=KNOWN)
    contexts: list[str | None] = [None, KNOWN] * 25
    passed = _race_starts(racers, [(number(1), context) for context in contexts])

    assert sum(passed) == 9, "with the owner's first one ten"
    assert sum(lets for lets, context in zip(passed, contexts, strict=True) if context is None) <= 5
