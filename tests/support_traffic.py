"""Newcomers who come beside an attack: starts over the use cases, recorded and judged minute by minute."""

import itertools
import random
from functools import cache

from support_caller import Caller
from support_events import record_events
from support_frozen import START, FrozenValkey
from support_guard import guarded
from support_outbox import forget_queues

from otp_service.bootstrap import Installation
from otp_service.domain.newcomer_traffic import MINUTE, CountryTraffic, pack_place, unpack_place
from otp_service.errors import OtpServiceError
from otp_service.services.newcomer_traffic import TrafficJudge

RANGES = ("92300", "92301", "92302", "92303")
WEEK = 10_080


@cache
def _usual_week(rate: int) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """Return rows of a week in which so many newcomers come each minute, of whom six of ten approve."""
    country, chance = CountryTraffic(), random.Random(rate)
    for minute in range(START // MINUTE - WEEK, START // MINUTE):
        for _ in range(rate):
            own = chance.choice(RANGES)
            country.start(minute * MINUTE, own, 0)
            country.approve(minute * MINUTE, own, chance.random() < 0.6)
        country.known_start(minute * MINUTE, 0, 4)
        country.known_approve(minute * MINUTE, 3)
    return pack_place(country.whole), tuple((name, pack_place(one)) for name, one in country.ranges.items())


class Newcomers:
    """Newcomers of a country that is learnt, at an application; its clock stands still until they come."""

    def __init__(self, frozen: FrozenValkey, installation: Installation | None = None, *, rate: int = 2) -> None:
        self.frozen = frozen
        frozen.move_to(START - START % MINUTE + MINUTE)
        self.shop = Caller(installation or guarded(frozen))
        self.context = self.shop.context
        self.judge = TrafficJudge(self.context, "judge")
        self._rate = rate
        self._chance = random.Random(1)
        self._numbers = itertools.count(1)
        whole, ranges = _usual_week(rate)
        learnt = CountryTraffic(unpack_place(whole), {name: unpack_place(one) for name, one in ranges})
        ruleset = self.context.rulesets["shop"]
        assert self.context.store.traffic.commit("shop", "0", {"PK": (learnt, learnt.ranges)}, {}, (), ruleset)

    def number(self, number_prefix: str = "") -> str:
        """Return a number that nobody has had, of a block of its own."""
        one = next(self._numbers)
        return f"+{number_prefix or self._chance.choice(RANGES)}{one:03}{one % 10_000:04}"

    def come(self, to: str, *, approves: bool, **members: object) -> str:
        """Start, and check the right code; return what came of it: ``approved``, ``sent``, or the error's code."""
        try:
            one = self.shop.start(to, **members)
        except OtpServiceError as refused:
            return refused.code
        if approves:
            self.shop.check(one, self.shop.code(one))
        return "approved" if approves else "sent"

    def minute(self, attack: int = 0, within: str = "", **members: object) -> list[str]:
        """Let a minute pass, in which all give these members; return what the attack got."""
        who, got = self._rate * ["honest"] + attack * ["attack"], []
        self._chance.shuffle(who)
        for one in who:
            if one == "honest":
                self.come(self.number(), approves=self._chance.random() < 0.6, **members)
            else:
                got.append(self.come(self.number(within), approves=False, **members))
        self.end_minute()
        return got

    def end_minute(self) -> None:
        """Record what happened, and let the next minute begin."""
        self.record()
        forget_queues(self.frozen.client)
        self.frozen.advance(60)
        self.judge.judge()

    def minutes(self, count: int, attack: int = 0, within: str = "") -> list[str]:
        """Let minutes pass; return what the attack got."""
        return [one for _ in range(count) for one in self.minute(attack, within)]

    def record(self) -> None:
        """Record what happened."""
        record_events(self.context)

    @property
    def learnt(self) -> CountryTraffic:
        """What is kept of the country."""
        return self.context.store.traffic.learnt("shop")[1]["PK"]
