"""A freeze against all that a number can be used for at that moment: nothing that begins after its answer succeeds."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from support_race_actions import live_through_a_freeze
from support_racers import Racers, racing
from support_valkey import ValkeyServer

COUNT = 5
"""Processes: one freezes the number that the others use."""
PERMISSIVE: dict[str, Any] = {
    "limits": {"number": ["100000/hour"], "application": [], "ip": [], "failed_checks": ["1000/hour"]},
    "purposes": {"login": {"resend_delays": [0], "channels": ["sms"]}},
}


@pytest.fixture(scope="module")
def racers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Racers]:
    valkey = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    try:
        with racing(COUNT, valkey.url, **PERMISSIVE) as (made, _):
            yield made
    finally:
        valkey.stop()


@pytest.mark.parametrize("number", [f"+92300765430{round_}" for round_ in range(5)])
def test_after_the_answer_of_a_freeze_nothing_starts_is_handed_over_or_is_approved(racers: Racers, number: str) -> None:
    told = racers.race(live_through_a_freeze, [(number, 0 if place else COUNT - 1) for place in range(COUNT)])
    ((_, frozen),) = told[0]
    done = [one for each in told[1:] for one in each]
    before, after = (Counter(what for what, began in done if (began > frozen) is late) for late in (False, True))

    assert after == {}
    assert set(before) == {"started", "handed over", "approved"}, "it was in use until then"
