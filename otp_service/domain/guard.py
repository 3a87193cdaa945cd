"""The rules of the guard: limits, destinations, spending ceilings, and the ruleset of an application."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from limits import parse

from otp_service.domain.applications import Application, Zone
from otp_service.domain.newcomer_traffic import UNAPPROVED_ABROAD, UNAPPROVED_AT_HOME
from otp_service.domain.numbers import RECEIVES_SMS, Destination, NumberType
from otp_service.errors import (
    ConfigurationError,
    CountryNotAllowedError,
    NumberTypeNotAllowedError,
    PrefixDeniedError,
    UnacceptableError,
)


class Mode(StrEnum):
    """The effect of a rule that applies."""

    ENFORCE = "enforce"
    RECORD_ONLY = "record_only"
    """A decision records the refusal; the request passes."""
    OFF = "off"


class Disclosure(StrEnum):
    """How much a refusal discloses to its caller."""

    FULLY = "fully"
    """The fault of the request, or the application's own quota."""
    UNIFORMLY = "uniformly"
    """Too many requests for this recipient, and a coarse wait: the same for all such rules."""


class WithoutStore(StrEnum):
    """The effect of a rule without Redis."""

    REFUSES = "refuses"
    """It refuses with ``store-unavailable``, since it cannot count."""
    DECIDES = "decides"
    """It decides as always, since it counts nothing."""


@dataclass(frozen=True, slots=True)
class GuardRule:
    """One rule against abuse."""

    id: str
    """Scope and name: ``number.sends``."""
    sentence: str
    disclosure: Disclosure = Disclosure.UNIFORMLY
    without_store: WithoutStore = WithoutStore.REFUSES
    vital: bool = False
    """Whether codes could be guessed or numbers flooded without it; production must enforce it."""
    mode: Mode = Mode.ENFORCE

    @property
    def scope(self) -> str:
        """The counted or judged object, such as ``number``."""
        return self.id.partition(".")[0]


def _static(name: str, sentence: str) -> GuardRule:
    return GuardRule(f"destination.{name}", sentence, Disclosure.FULLY, WithoutStore.DECIDES)


_ALL = (
    _static("country", "The application does not send to the number's country."),
    _static("type", "The number is of a type that receives no codes, or belongs to no country."),
    _static("prefix", "The number begins with a prefix that is denied."),
    GuardRule("number.sends", "Too many messages to one number, all applications together.", vital=True),
    GuardRule(
        "number.cooldown", "The next start for a number too soon after its last message; the wait grows with each one."
    ),
    GuardRule(
        "number.guesses", "Too many wrong codes for one number in an application, over all verifications.", vital=True
    ),
    GuardRule("number.guess_wait", "The next guess too soon after a wrong one; the wait grows with each one."),
    GuardRule(
        "number.lock", "Too many wrong codes in a row for one number: locked until it ends, or is lifted.", vital=True
    ),
    GuardRule("address.starts", "Too many starts from one end-user address."),
    GuardRule("address.unapproved", "Too many unapproved starts from one end-user address."),
    GuardRule("address.numbers", "Codes for too many different numbers from one end-user address, not approved."),
    GuardRule("address.countries", "Codes for too many different countries from one end-user address, not approved."),
    GuardRule("address.network", "Too many unapproved starts from one IPv6 /48."),
    GuardRule("address.provider", "Too many unapproved starts from one IPv6 /32."),
    GuardRule("block.unapproved", "Too many unapproved messages into one block of 10,000 numbers."),
    GuardRule("block.conversion", "Few codes in this block of 10,000 numbers are typed in."),
    GuardRule("country.unapproved", "Too many unapproved messages of the application into one country."),
    GuardRule("country.conversion", "Few of the application's codes in this country are typed in."),
    GuardRule(
        "country.unknown_numbers", "Unknown numbers in this country, or with this prefix, approve less than usual."
    ),
    GuardRule("spend.application", "The application's spending ceiling is reached.", Disclosure.FULLY),
    GuardRule("spend.country", "The application's spending ceiling for the country is reached.", Disclosure.FULLY),
    GuardRule("application.requests", "Too many starts and resends of one application.", Disclosure.FULLY),
    GuardRule(
        "application.failures",
        "Most of the codes that the application checks are wrong: an attacker tries one code on many numbers.",
        Disclosure.FULLY,
        mode=Mode.RECORD_ONLY,
    ),
)
GUARD_RULES: Mapping[str, GuardRule] = MappingProxyType({rule.id: rule for rule in _ALL})
"""By id, in the order in which they are explained."""


class LimitScope(StrEnum):
    """The object of a limit."""

    NUMBER = "number"
    """Messages to one number, all applications together."""
    IP = "ip"
    APPLICATION = "application"
    FAILED_CHECKS = "failed_checks"
    """Wrong codes for one number, per application, across verifications."""


class Strategy(StrEnum):
    """How a window counts; the names of the ``limits`` library."""

    MOVING_WINDOW = "moving-window"
    """Exact: never more than the amount in any interval of the window's length."""
    SLIDING_WINDOW_COUNTER = "sliding-window-counter"
    """Approximate in constant memory: the previous interval's count fades out."""


STRATEGY_OF = {
    LimitScope.NUMBER: Strategy.MOVING_WINDOW,
    LimitScope.FAILED_CHECKS: Strategy.MOVING_WINDOW,
    LimitScope.IP: Strategy.SLIDING_WINDOW_COUNTER,
    LimitScope.APPLICATION: Strategy.SLIDING_WINDOW_COUNTER,
}
"""Exact for a person; constant memory for what can be large."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``amount`` events in ``seconds``."""

    scope: LimitScope
    amount: int
    seconds: int


Limits = Mapping[LimitScope, tuple[Limit, ...]]
"""All limits of an installation; in each scope the narrowest window first."""


def parse_limits(scope: LimitScope, notations: tuple[str, ...]) -> tuple[Limit, ...]:
    """Return the limits of a scope, the narrowest window first; raise `ConfigurationError` for a bad notation."""
    parsed = (Limit(scope, *parse_notation(f"limits.{scope}", notation)) for notation in notations)
    limits = sorted(parsed, key=lambda limit: limit.seconds)
    windows = [limit.seconds for limit in limits]
    if len(set(windows)) < len(windows):
        raise ConfigurationError(f"limits.{scope}: two limits have the same window.")
    return tuple(limits)


def parse_notation(name: str, notation: str) -> tuple[int, int]:
    """Return amount and seconds of a notation; raise `ConfigurationError` with the ``name``."""
    try:
        item = parse(notation)
    except ValueError as malformed:
        raise ConfigurationError(f"{name}: {notation!r} is not a limit such as '5/10 minutes'.") from malformed
    if item.amount < 1:
        raise ConfigurationError(f"{name}: {notation!r} allows nothing; leave the limit out or raise it.")
    return item.amount, item.get_expiry()


def ceil_seconds(milliseconds: int) -> int:
    """Return whole seconds, rounded up and at least 1."""
    return max(1, -(-milliseconds // 1000))


def coarse_retry_after(milliseconds: int) -> int:
    """Return whole seconds, rounded up so that they reveal neither others' use of the number nor a lock."""
    seconds = ceil_seconds(milliseconds)
    step = 10 if seconds <= 60 else 60 if seconds <= 3600 else 3600  # noqa: PLR2004 - 10 s, minutes, hours
    return min(-(-seconds // step) * step, 86_400)


# --- Ruleset: times in milliseconds, money in millionths; ``None`` or empty: no rule ---

HOUR = 3_600_000
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Window:
    """A limit as a rule for the scripts."""

    rule: str
    scope: LimitScope
    amount: int
    seconds: int
    for_unknown: int | None = None
    """The part for unknown devices, once the number has a known device."""
    for_known: int | None = None
    """The part for an application's known devices, whatever others use."""
    quota: bool = False
    """Whether the application may know it."""
    asks: bool = False
    """Whether a human check lifts it."""
    record_only: bool = False


@dataclass(frozen=True, slots=True)
class BackoffRule:
    """Waits that grow with each event in a row; the last one repeats."""

    rule: str
    waits: tuple[int, ...]
    reset_after: int
    """Milliseconds without an event that end the run."""
    record_only: bool = False


@dataclass(frozen=True, slots=True)
class Lock:
    """Locks a number for a ``length``, ``after`` so many wrong codes in a row."""

    rule: str
    after: int
    length: int
    record_only: bool = False


@dataclass(frozen=True, slots=True)
class Bucket:
    """A leaky bucket: at most ``amount`` unapproved sends in a ``window``, and ``factor`` more for each approval."""

    rule: str
    part: str
    exempts: str
    name: str
    amount: int
    window: int
    factor: float
    """``approved`` numbers or the ``known_device`` do not count."""
    starts: bool = False
    new: str | None = None
    """Counts only a new ``number`` or ``country`` of an address."""
    zone: str | None = None
    """Counts only ``home`` or ``abroad``."""
    breaker: str | None = None
    """Counts only while the breaker of this part is in the ``breaker_state``."""
    breaker_state: str | None = None
    checked: str | None = None
    """Counts only unknown numbers that passed a human check (``yes``), or did not (``no``)."""
    max_growth: float | None = None
    """Maximum growth by usual approvals, as a factor; ``None`` without a bound."""
    usual_window: int | None = None
    """Milliseconds of its own usual approvals; ``None`` where a worker learns them."""
    asks: bool = False
    record_only: bool = False

    @property
    def approval_windows(self) -> tuple[int, ...]:
        """Windows that count its approvals; buckets share the counts of a window."""
        return (self.window, self.usual_window) if self.usual_window else (self.window,)


@dataclass(frozen=True, slots=True)
class ConversionBreaker:
    """A breaker that opens when less than a ``rate`` of at least ``sends`` verifications was approved."""

    rule: str
    part: str
    exempts: str
    sends: int
    rate: float
    closed_for: int
    """At first; the time doubles each time that the rate is still bad."""
    max_closed_for: int
    passes_while_open: bool
    """Whether traffic passes while it is open, and is judged."""
    probe: int = field(init=False)
    """Verifications that end an opening: half as many, since a trickle brings no more."""
    zone: str | None = None
    asks: bool = False
    record_only: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "probe", -(-self.sends // 2))


@dataclass(frozen=True, slots=True)
class NewcomerRule:
    """Unknown numbers under suspicion get the trickle, or a human check first where the application ``asks``."""

    rule: str
    asks: bool = False
    record_only: bool = False


@dataclass(frozen=True, slots=True)
class Ceiling:
    """At most this much money in a calendar interval (UTC)."""

    rule: str
    name: str
    interval: int
    amount: int
    record_only: bool = False


@dataclass(frozen=True, slots=True)
class Failures:
    """An alarm when at least ``wrong`` checks in a ``window`` had a wrong code, and more than a ``share`` of all."""

    rule: str
    wrong: int
    share: float
    window: int
    record_only: bool = False


_KNOWN_MESSAGES: Mapping[str, int] = {Zone.DOMESTIC: UNAPPROVED_AT_HOME, Zone.INTERNATIONAL: UNAPPROVED_ABROAD}


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All rules of an application."""

    windows: tuple[Window, ...] = ()
    """Grouped by scope, in the order of their keys."""
    cooldown: BackoffRule | None = None
    guess_wait: BackoffRule | None = None
    lock: Lock | None = None
    buckets: tuple[Bucket, ...] = ()
    breakers: tuple[ConversionBreaker, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()
    ceilings_of_countries: Mapping[str, tuple[Ceiling, ...]] = field(default_factory=dict)
    """By country (ISO 3166-1 alpha-2); ``*`` for all others."""
    failures: Failures | None = None
    newcomers: NewcomerRule | None = None
    known: int = 90 * DAY
    """Milliseconds for which an approved number or device is known."""
    known_messages: Mapping[str, int] = field(default_factory=lambda: _KNOWN_MESSAGES)
    """Unapproved messages in a row that make a known number unknown to the rules on fraud, by zone."""
    devices: int = 8
    """Maximum known devices of a number in an application."""
    lifetimes: Mapping[str, int] = field(default_factory=dict)

    def ceilings_of(self, country: str) -> tuple[Ceiling, ...]:
        """Return the ceilings of a country: its own, or those of all others."""
        return self.ceilings_of_countries.get(country, self.ceilings_of_countries.get("*", ()))


@dataclass(frozen=True, slots=True)
class DestinationRules:
    """Rules on numbers beside each application's countries. The ``repr`` shows no number."""

    types: frozenset[NumberType] = RECEIVES_SMS
    denied: tuple[str, ...] = ()
    """Beginnings of numbers in international form."""
    allowed: tuple[str, ...] = ()
    """Exceptions: the longer matching beginning decides."""
    allowlisted: frozenset[str] = field(default=frozenset(), repr=False)
    """Whole numbers that pass the rules against fraud."""
    modes: Mapping[str, Mode] = field(default_factory=dict)

    def check(self, application: Application, destination: Destination) -> tuple[str, ...]:
        """Return the record-only rules that would refuse a destination; raise the error of a rule that refuses."""
        objections: dict[str, UnacceptableError] = {}
        if destination.type not in self.types:
            objections["destination.type"] = NumberTypeNotAllowedError("Numbers of this type do not receive codes.")
        if not application.sends_to(destination.country):
            sentence = f"The application does not send to {destination.country}."
            objections["destination.country"] = CountryNotAllowedError(sentence)
        if self.denied and _longest(self.denied, destination) > _longest(self.allowed, destination):
            objections["destination.prefix"] = PrefixDeniedError("Numbers that begin like this receive no codes.")
        record_only_rules = []
        for rule, error in objections.items():
            mode = self.modes.get(rule, GUARD_RULES[rule].mode)
            if mode is Mode.ENFORCE:
                error.rule = rule
                raise error
            if mode is Mode.RECORD_ONLY:
                record_only_rules.append(rule)
        return tuple(record_only_rules)


def _longest(prefixes: tuple[str, ...], destination: Destination) -> int:
    return max((len(prefix) for prefix in prefixes if destination.e164.startswith(prefix)), default=0)


@dataclass(slots=True)
class SendAttempt:
    """The first message of a verification for the guard. Number, block, networks and device are pseudonyms."""

    number: str
    block: str
    """The number without its last four digits."""
    ip_prefix: str = ""
    """The end user's IPv4 address or IPv6 /64; empty where addresses do not count."""
    prefix_48: str = ""
    """Empty for IPv4, as `prefix_32`."""
    prefix_32: str = ""
    device: str = ""
    """The ``context`` of the request; empty when it has none."""
    zone: Zone = Zone.DOMESTIC
    allowlisted: bool = False
    price: int = 0
    record_only_rules: tuple[str, ...] = ()
    """Static rules that would have refused it."""
    number_prefix: str = ""
    """The calling code and three digits."""
    checked: bool = False

    @property
    def encoded(self) -> str:
        """One string for the log of attempts; `decode_attempt` reads it."""
        flags = f"{self.zone}{'+safe' if self.allowlisted else ''}{'+checked' if self.checked else ''}"
        networks = (self.ip_prefix, self.prefix_48, self.prefix_32)
        return "|".join((self.number, self.block, *networks, self.device, flags, str(self.price), self.number_prefix))


def decode_attempt(text: str) -> SendAttempt:
    """Return the attempt from `SendAttempt.encoded`."""
    number, block, ip_prefix, prefix_48, prefix_32, device, flags, price, number_prefix = text.split("|")
    zone, *marks = flags.split("+")
    return SendAttempt(
        number, block, ip_prefix, prefix_48, prefix_32, device, Zone(zone), "safe" in marks, int(price),
        number_prefix=number_prefix,
        checked="checked" in marks,
    )  # fmt: skip
