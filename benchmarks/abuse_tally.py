"""What became of a simulated day: who asked, who was refused and by which rule, what was sent. Without I/O."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from abuse_numbers import PRICES, country_of, is_still_known
from abuse_traffic import DAY, Group, Visit

NEVER = 1000
"""What stands for the messages in vain to a number that was never approved."""
NO_DECISION = "no decision"
"""In front of the code of a problem that names no decision."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A start or resend that was refused."""

    group: Group
    kind: str
    reason: str
    """The decision's id, or the problem's code where it names none."""
    decided: bool
    messages: int
    """Messages that this kind had been granted before."""


class Met(StrEnum):
    """What somebody met who started."""

    SENT = "sent"
    ASKED = "asked"
    """For a human check, which was not passed."""
    CHECKED = "checked"
    """Asked, and then sent."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a visit."""

    visit: Visit
    met: Met
    refusal: Refusal | None = None
    asked_by: str = ""
    """The decision by which a human check was asked for, if one was."""


@dataclass
class Row:
    """All of one kind, or several kinds together."""

    visits: int = 0
    refused: int = 0
    """Visits of which the start or a resend was refused."""
    asked: int = 0
    """Visits that were asked for a human check: then they are not refused."""
    starts: int = 0
    """Accepted."""
    resends: int = 0
    """Accepted."""
    approved: int = 0
    compared: int = 0
    """Wrong codes that were compared."""
    received: int = 0
    """Messages that a gateway took."""
    money: Decimal = Decimal(0)
    """For those."""

    @property
    def messages(self) -> int:
        """Messages that were accepted."""
        return self.starts + self.resends

    @property
    def loss(self) -> float:
        """Share of the visits that were refused."""
        return self.refused / self.visits if self.visits else 0.0

    def __add__(self, other: "Row") -> "Row":
        names = self.__dataclass_fields__
        return Row(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass
class Tally:
    """The books of a scenario, which the driver fills."""

    rows: dict[tuple[Group, str], Row] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    """In the order in which they were known."""
    spent: Counter[int] = field(default_factory=Counter)
    """What messages cost that gateways took, by the day of the start, in hundredths."""
    in_vain: dict[str, int] = field(default_factory=dict)
    """Messages to each number since its last approval, also on the days before."""
    failures: list[float] = field(default_factory=list)
    """When each wrong code of the attack was answered, in simulated seconds."""
    lags: list[float] = field(default_factory=list)
    """Simulated seconds from when a request was due to its answer."""
    unexpected: Counter[str] = field(default_factory=Counter)
    """Answers that are neither success nor refusal."""
    rules: dict[str, str] = field(default_factory=dict)
    """Rules by the ids of their decisions."""
    alarm: float | None = None
    """When the first alarm was raised, in simulated seconds."""

    def row(self, visit: Visit) -> Row:
        """Return the row of a visit's kind."""
        return self.rows.setdefault((visit.group, visit.kind), Row())

    def refuse(self, visit: Visit, problem: Mapping[str, object]) -> Refusal:
        """Count a refusal, and return it; a visit has at most one."""
        row, decision = self.row(visit), problem.get("decision")
        row.refused += 1
        reason = str(decision or problem.get("code"))
        refusal = Refusal(visit.group, visit.kind, reason, bool(decision), row.messages)
        self.refusals.append(refusal)
        return refusal

    def as_it_is(self, visit: Visit) -> Visit:
        """Return the visit of a number that is known no more, or not yet, as one of the kind ``lapsed``."""
        in_vain = self.in_vain.get(visit.number, NEVER)
        if not visit.kind.startswith("known") or is_still_known(in_vain, country_of(visit.number)):
            return visit
        return replace(visit, kind=visit.kind.replace("known", "lapsed"))

    def accept(self, visit: Visit, asked_by: str = "") -> None:
        """Count a start that was accepted, after a human check that a decision asked for, if one did."""
        self.outcomes.append(Outcome(visit, Met.CHECKED if asked_by else Met.SENT, asked_by=asked_by))
        self.row(visit).starts += 1
        self._count(visit)

    def resend(self, visit: Visit) -> None:
        """Count a further message that was accepted."""
        self.row(visit).resends += 1
        self._count(visit)

    def _count(self, visit: Visit) -> None:
        self.in_vain[visit.number] = self.in_vain.get(visit.number, NEVER) + 1

    def approve(self, visit: Visit) -> None:
        """Count an approval."""
        self.row(visit).approved += 1
        self.in_vain[visit.number] = 0

    def receive(self, visit: Visit, messages: int) -> None:
        """Count messages that gateways took."""
        row = self.row(visit)
        row.received += messages
        cost = messages * PRICES[country_of(visit.number)]
        row.money += cost
        self.spent[int(visit.at // DAY)] += int(100 * cost)

    def rule_of(self, refusal: Refusal) -> str:
        """Return the rule that refused, or what is known instead."""
        if not refusal.decided:
            return _STATIC.get(refusal.reason, f"{NO_DECISION}: {refusal.reason}")
        return self.rules.get(refusal.reason, f"unknown decision {refusal.reason}")

    def is_suspected(self, outcome: Outcome) -> bool:
        """Tell whether somebody was asked, or refused, because newcomers approve less than usual."""
        refusal = outcome.refusal
        decision = outcome.asked_by or (refusal.reason if refusal and refusal.decided else "")
        return self.rules.get(decision) == "country.unknown_numbers"

    def total(self, group: Group, wanted: Callable[[str], bool] = lambda _: True) -> Row:
        """Return all kinds of a group together, or those that are wanted."""
        found = (row for (whose, kind), row in self.rows.items() if whose is group and wanted(kind))
        return sum(found, Row())

    def by_rule(self) -> Mapping[str, Counter[tuple[Group, str]]]:
        """Count refusals by rule, and by group and kind."""
        found: dict[str, Counter[tuple[Group, str]]] = {}
        for one in self.refusals:
            found.setdefault(self.rule_of(one), Counter())[one.group, one.kind] += 1
        return found

    def before(self, rules: Iterable[str]) -> int:
        """Return how many messages the attack was granted before one of these rules, or the first of all, refused."""
        attacking = [one for one in self.refusals if one.group is Group.ATTACK]
        named = [one for one in attacking if self.rule_of(one).startswith(tuple(rules))]
        first = min((one.messages for one in named or attacking), default=None)
        return self.total(Group.ATTACK).messages if first is None else first


_STATIC = {
    "country-not-allowed": "destination.country",
    "number-type-not-allowed": "destination.type",
    "number-not-allowed": "destination.prefix",
}
"""Rules that need no count, by the codes of their problems."""
