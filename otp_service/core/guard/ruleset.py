"""A ruleset: the rules of one application as data, with all their numbers. The scripts and the rehearsal evaluate it.

Times in milliseconds, money in millionths of the currency's unit. Members that are ``None`` or empty leave a rule out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from otp_service.core.guard.bucket import BucketRule
from otp_service.core.guard.conversion import ConversionRule
from otp_service.core.guard.limits import Scope, Strategy

HOUR = 3_600_000
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Window:
    """At most ``amount`` events in ``seconds``."""

    rule: str
    scope: Scope
    strategy: Strategy
    amount: int
    seconds: int
    strangers: int | None = None
    """How many of them are for those who are not known, once somebody is."""
    quota: bool = False
    """Whether it is the quota that the application is told."""
    record_only: bool = False


@dataclass(frozen=True, slots=True)
class Waits:
    """Waits that grow with each event in a row; the last one repeats."""

    rule: str
    waits: tuple[int, ...]
    forgotten: int
    """After so long without an event the run begins anew."""
    record_only: bool = False


@dataclass(frozen=True, slots=True)
class Lock:
    """Locks a number ``after`` so many wrong codes in a row, for a ``length``."""

    rule: str
    after: int
    length: int
    record_only: bool = False


@dataclass(frozen=True, slots=True)
class Bucket(BucketRule):
    """A leaky bucket of unapproved sends, and what it counts."""

    rule: str
    part: str
    """Which of the guard's keys it is kept in."""
    spares: str
    """What is not counted: numbers that were ``approved``, or contexts that are ``familiar``."""
    starts: bool = False
    """Whether it counts starts only, not the further messages of a verification."""
    new: str | None = None
    """Counts only a ``number`` or a ``country`` that is new to its address."""
    place: str | None = None
    """Counts only at ``home`` or ``abroad``."""
    breaker: str | None = None
    """Counts only while the breaker of this part stands so: ``stands``."""
    stands: str | None = None
    record_only: bool = False


@dataclass(frozen=True, slots=True)
class Breaker(ConversionRule):
    """A breaker on conversion, and what it judges."""

    rule: str
    part: str
    spares: str
    place: str | None = None
    record_only: bool = False


@dataclass(frozen=True, slots=True)
class Ceiling:
    """At most this much money in a calendar interval (UTC)."""

    rule: str
    part: str
    name: str
    interval: int
    amount: int
    record_only: bool = False


@dataclass(frozen=True, slots=True)
class Failures:
    """An alarm when at least ``wrong`` codes in a ``window`` are, and more than a ``share`` of all."""

    rule: str
    wrong: int
    share: float
    window: int
    record_only: bool = False


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All rules of an application."""

    windows: tuple[Window, ...] = ()
    """Those of one scope stand together, in the order in which their keys are given."""
    cooldown: Waits | None = None
    guess_wait: Waits | None = None
    lock: Lock | None = None
    buckets: tuple[Bucket, ...] = ()
    breakers: tuple[Breaker, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()
    ceilings_of_countries: Mapping[str, tuple[Ceiling, ...]] = field(default_factory=dict)
    """By country (ISO 3166-1 alpha-2); ``*`` for all that are not named."""
    failures: Failures | None = None
    known: int = 90 * DAY
    """How long an approved number or context is known."""
    contexts: int = 8
    """Contexts that are kept of a number."""
    lives: Mapping[str, int] = field(default_factory=dict)
    """How long each part is kept that is not written."""

    def ceilings_of(self, country: str) -> tuple[Ceiling, ...]:
        """Return the ceilings of a country, its own or those of all that are not named."""
        return self.ceilings_of_countries.get(country, self.ceilings_of_countries.get("*", ()))
