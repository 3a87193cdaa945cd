"""The scenarios: which attack, and what must come of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import abuse_attacks as attacks
from abuse_numbers import ABROAD, HOME, PRICES
from abuse_people import Town
from abuse_tally import NO_DECISION, Tally
from abuse_traffic import Group, Visit

NUMBER_A_DAY = 10
"""Messages that one number gets a day at most, by the default rules."""
GUESSES_A_DAY = 10
"""Wrong codes that are compared for one number and application a day at most, by the default rules."""
CEILING = Decimal(250)
"""What the shop may spend a day in the scenario about that."""
MOST_KNOWN_REFUSED, MOST_NEW_REFUSED, MOST_REFUSED = 0.001, 0.01, 0.001
"""Shares of honest visits of which fewer are refused: of those seen before, of new ones outside, of all at peace."""
BLOCK_A_DAY = 150
"""Messages into one block at most: it lets newcomers in now and then, and nothing tells them from an attack."""
ALARM_WITHIN = 500


@dataclass(frozen=True)
class Expectation:
    """Something that was expected, and whether it came true; ``None`` where nobody can say."""

    sentence: str
    met: bool | None


Judge = Callable[[Town, Tally], list[Expectation]]


@dataclass(frozen=True)
class Scenario:
    """One simulated day."""

    name: str
    says: str
    attack: Callable[[Town, float], list[Visit]]
    judge: Judge
    attacked: Callable[[Town], Sequence[str]] = lambda _: ()
    """The blocks in which a part of the honest newcomers are."""
    rules: tuple[str, ...] = ()
    """The rules that are expected to refuse the attack."""
    spend: Decimal | None = None
    honest: bool = True
    """Whether there is honest traffic beside it."""

    def expectations(self, town: Town, tally: Tally) -> list[Expectation]:
        """Compare what came with what was expected."""
        return [*self.judge(town, tally), *self._explained(tally)]

    def _explained(self, tally: Tally) -> list[Expectation]:
        if not self.rules:
            return []
        found = {
            rule: count
            for rule, counts in tally.by_rule().items()
            if (count := sum(one for (group, _), one in counts.items() if group is Group.ATTACK))
        }
        ruled = {rule: count for rule, count in found.items() if not rule.startswith(NO_DECISION)}
        wrong = {rule: count for rule, count in ruled.items() if rule not in self.rules}
        sentence = f"the attack is refused by {', '.join(self.rules)} only"
        also = f", but also by {', '.join(f'{rule} ({count})' for rule, count in wrong.items())}" if wrong else ""
        return [Expectation(sentence + also, not wrong if ruled else None)]


def _sent(tally: Tally, most: int) -> Expectation:
    sent = tally.total(Group.ATTACK).messages
    return Expectation(f"messages to the attack: {sent:,}, at most {most:,}", sent <= most)


def _lost(tally: Tally, what: str, most: float, wanted: Callable[[str], bool]) -> Expectation:
    row = tally.total(Group.HONEST, wanted)
    sentence = f"honest refused, {what}: {row.refused} of {row.visits:,} ({row.loss:.2%}), under {most:.1%}"
    return Expectation(sentence, row.loss < most)


def _known(tally: Tally) -> Expectation:
    return _lost(tally, "seen before", MOST_KNOWN_REFUSED, lambda kind: kind.startswith("known"))


def _told(sentence: str) -> Expectation:
    return Expectation(sentence, None)


def _peace(_: Town, tally: Tally) -> list[Expectation]:
    return [_lost(tally, "all", MOST_REFUSED, lambda _: True)]


def _block(_: Town, tally: Tally) -> list[Expectation]:
    before, sent = tally.before(("block.", "country.")), tally.total(Group.ATTACK).messages
    return [
        Expectation(f"messages to the attack before it is first refused: {before:,}, at most 20", before <= 20),  # noqa: PLR2004
        Expectation(f"messages to the attack in all: {sent:,}, at most {BLOCK_A_DAY}", sent <= BLOCK_A_DAY),
    ]


def _home_blocks(_: Town, tally: Tally) -> list[Expectation]:
    inside = tally.total(Group.HONEST, lambda kind: kind == "new inside")
    return [
        _sent(tally, 1500),
        _known(tally),
        _lost(tally, "new outside", MOST_NEW_REFUSED, lambda one: one.startswith("new") and not one.endswith("inside")),
        _told(f"honest refused, new inside: {inside.refused} of {inside.visits:,} ({inside.loss:.1%})"),
    ]


def _foreign(_: Town, tally: Tally) -> list[Expectation]:
    return [_sent(tally, 100), _lost(tally, "at home", MOST_REFUSED, lambda kind: "abroad" not in kind)]


def _slow(_: Town, tally: Tally) -> list[Expectation]:
    row = tally.total(Group.ATTACK)
    return [_told(f"costs {row.money:,} PKR: {row.messages:,} messages of {row.visits:,}")]


def _guessing(_: Town, tally: Tally) -> list[Expectation]:
    guesses = tally.total(Group.ATTACK).compared
    own = tally.total(Group.HONEST, lambda kind: kind == "victim")
    sent = tally.total(Group.ATTACK).messages + own.messages
    return [
        Expectation(f"guesses compared: {guesses}, at most {GUESSES_A_DAY}", guesses <= GUESSES_A_DAY),
        Expectation("no guess was right", not tally.total(Group.ATTACK).approved),
        Expectation(f"the known context came in {own.approved} times of {own.visits}", own.approved == own.visits > 0),
        Expectation(f"messages to the number: {sent}, at most {NUMBER_A_DAY}", sent <= NUMBER_A_DAY),
    ]


def _spraying(_: Town, tally: Tally) -> list[Expectation]:
    if tally.alarm is None:
        failures = len(tally.failures)
        return [Expectation(f"no alarm, {failures:,} failures in all, at most {ALARM_WITHIN}", failures < ALARM_WITHIN)]
    before = sum(at <= tally.alarm for at in tally.failures)
    return [Expectation(f"alarm after {before} failures, at most {ALARM_WITHIN}", before <= ALARM_WITHIN)]


def _edge(_: Town, tally: Tally) -> list[Expectation]:
    spent = tally.total(Group.HONEST).money  # what was accepted and never sent, because it was approved before, is free
    return [
        Expectation(f"spent: {spent:,} PKR, at most {CEILING:,}", spent <= CEILING),
        Expectation("all that was allowed could be spent", spent > CEILING - PRICES[HOME]),
        Expectation("refused by spend.application only", set(tally.by_rule()) == {"spend.application"}),
    ]


def _home(town: Town) -> Sequence[str]:
    return town.blocks[HOME]


_NUMBER = ("number.sends", "number.cooldown")
_PLACES = ("block.unapproved", "block.conversion", "country.unapproved", "country.conversion", *_NUMBER)
"""Where many numbers are tried, some are known: those have their own limits alone."""
_GUESSES = (*_NUMBER, "number.guesses", "number.guess_wait")
SCENARIOS = (
    Scenario("honest", "honest traffic alone", lambda *_: [], _peace),
    Scenario(
        "block", "one block, number and address fresh each time", attacks.block, _block,
        lambda town: town.blocks[HOME][:1], rules=_PLACES,
    ),
    Scenario("home-blocks", "200 blocks at home", attacks.home_blocks, _home_blocks, _home, rules=_PLACES),
    Scenario(
        "foreign", "200 blocks of an allowed country with little traffic",
        lambda town, hours: attacks.pump(town, hours, town.blocks[ABROAD]), _foreign,
        lambda town: town.blocks[ABROAD], rules=_PLACES,
    ),
    Scenario(
        "slow", "a message a minute over 50 blocks", attacks.slow, _slow,
        lambda town: town.blocks[HOME][: attacks.SLOW_BLOCKS], rules=_PLACES,
    ),
    Scenario(
        "unlisted", "a country that the application does not send to", attacks.unlisted,
        lambda _, tally: [_sent(tally, 0)], rules=("destination.country",),
    ),
    Scenario(
        "bombing", "one number from 3 applications and 1,000 addresses", attacks.bombing,
        lambda _, tally: [_sent(tally, NUMBER_A_DAY)], rules=_NUMBER,
    ),
    Scenario("guessing", "one number's codes, in parallel", attacks.guessing, _guessing, rules=_GUESSES),
    Scenario(
        "weapon", "numbers from all over the home country, so that it is closed", attacks.weapon,
        lambda _, tally: [_known(tally)], rules=_PLACES,
    ),
    Scenario("spraying", "one wrong code over 10,000 numbers", attacks.spraying, _spraying),
    Scenario(
        "ceiling", "50 requests at the same moment, money for 10", attacks.edge, _edge,
        spend=CEILING, honest=False,
    ),
)  # fmt: skip
