"""The rules against abuse, as a person reads them: what each is called, what it says, whom it tells.

What a rule counts, and how much is too much, is in the ruleset (`ruleset.py`) that the configuration makes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Mode(StrEnum):
    """What a rule does when it applies."""

    ENFORCE = "enforce"
    """It refuses."""
    RECORD_ONLY = "record_only"
    """It refuses nothing; that it would have is recorded."""
    OFF = "off"
    """It is not evaluated."""


class Tells(StrEnum):
    """What a caller is told of a refusal."""

    PLAINLY = "plainly"
    """All of it: what is wrong with the request, or the application's own quota."""
    ALIKE = "alike"
    """That there were too many requests for this recipient, and a coarse wait: all of these rules say the same."""


class WithoutStore(StrEnum):
    """What a rule does when Redis cannot answer."""

    REFUSES = "refuses"
    """The request is refused with ``store-unavailable``: what cannot be counted is not passed."""
    DECIDES = "decides"
    """It decides as always: it counts nothing."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    id: str
    """Scope and name: ``number.sends``."""
    sentence: str
    """What it refuses, for a person."""
    tells: Tells = Tells.ALIKE
    without_store: WithoutStore = WithoutStore.REFUSES
    vital: bool = False
    """Whether codes could be guessed, or anybody flooded, without it: then production enforces it."""
    mode: Mode = Mode.ENFORCE
    """What it does when the configuration says nothing."""

    @property
    def scope(self) -> str:
        """What it counts by, or judges."""
        return self.id.partition(".")[0]


def _static(name: str, sentence: str) -> Rule:
    return Rule(f"destination.{name}", sentence, Tells.PLAINLY, WithoutStore.DECIDES)


_ALL = (
    _static("country", "The application does not send to the number's country."),
    _static("type", "The number is of a type that receives no codes, or belongs to no country."),
    _static("prefix", "The number begins with a prefix that is denied."),
    Rule("number.sends", "Too many messages to one number, all applications together.", vital=True),
    Rule(
        "number.cooldown", "The next start for a number too soon after its last message; the wait grows with each one."
    ),
    Rule(
        "number.guesses", "Too many wrong codes for one number in an application, over all verifications.", vital=True
    ),
    Rule("number.guess_wait", "The next guess too soon after a wrong one; the wait grows with each one."),
    Rule(
        "number.lock", "Too many wrong codes in a row for one number: locked until it ends, or is lifted.", vital=True
    ),
    Rule("address.starts", "Too many starts from one end-user address."),
    Rule("address.unapproved", "Too many starts from one end-user address that nobody approved."),
    Rule("address.numbers", "Codes for too many different numbers from one end-user address, not approved."),
    Rule("address.countries", "Codes for too many different countries from one end-user address, not approved."),
    Rule("address.network", "Too many starts from one IPv6 /48 that nobody approved."),
    Rule("address.provider", "Too many starts from one IPv6 /32 that nobody approved."),
    Rule("block.unapproved", "Too many messages into one block of 10,000 numbers that nobody approved."),
    Rule("block.conversion", "Hardly anybody in this block of 10,000 numbers types the codes in."),
    Rule("country.unapproved", "Too many messages of the application into one country that nobody approved."),
    Rule("country.conversion", "Hardly anybody in this country types the application's codes in."),
    Rule("spend.application", "The application's spending ceiling is reached.", Tells.PLAINLY),
    Rule("spend.country", "The application's spending ceiling for the country is reached.", Tells.PLAINLY),
    Rule("application.requests", "Too many starts and resends of one application.", Tells.PLAINLY),
    Rule(
        "application.failures",
        "Most of the codes that the application checks are wrong: somebody tries one code on many numbers.",
        Tells.PLAINLY,
        mode=Mode.RECORD_ONLY,
    ),
)

RULES: Mapping[str, Rule] = MappingProxyType({rule.id: rule for rule in _ALL})
"""All rules by id, in the order in which they are explained."""
