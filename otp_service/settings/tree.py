"""The tree of all settings."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import Field, PrivateAttr

from otp_service.domain.applications import Application
from otp_service.domain.countries import SendingRules
from otp_service.domain.guard import (
    DAY,
    HOUR,
    Bucket,
    Ceiling,
    ConversionBreaker,
    Failures,
    Limit,
    Limits,
    Lock,
    Mode,
    Prices,
    Ruleset,
    Waits,
    Window,
    parse_notation,
    to_micros,
)
from otp_service.domain.keyring import Keyring, parse_key, parse_root_keys
from otp_service.domain.verification import GatewayLimits, Purpose, Route, Routes
from otp_service.errors import ConfigurationError
from otp_service.gateways.base import CountryCode, GatewaySettings
from otp_service.settings.sections import (
    ApplicationSettings,
    Approvals,
    AuditSettings,
    BreakerSettings,
    ConversionSettings,
    Countries,
    GatewayEntry,
    GuardSettings,
    Host,
    HttpSettings,
    InboundSettings,
    KeysSettings,
    LedgerSettings,
    LimitsSettings,
    LoggingSettings,
    MessagesSettings,
    Name,
    PolicyEntry,
    PurposeSettings,
    RedisSettings,
    RetentionSettings,
    RouteSettings,
    Section,
    Senders,
    SpendSettings,
    StreamsSettings,
    TelemetrySettings,
    WorkerSettings,
)

_RULE_OF_SCOPE = {
    "failed_checks": "number.guesses",
    "number": "number.sends",
    "ip": "address.starts",
    "application": "application.requests",
}
"""In the order in which the windows of a request are counted."""


def build_ruleset(guard: GuardSettings, limits: Limits, spend: SpendSettings) -> Ruleset:
    """Return an application's ruleset; raise `ConfigurationError` for a bad notation."""
    ruleset = Ruleset(
        windows=tuple(_windows(guard, limits)),
        cooldown=_waits(guard, "number.cooldown", guard.number.cooldown, HOUR),
        guess_wait=_waits(guard, "number.guess_wait", guard.number.guess_waits, DAY),
        lock=_lock(guard),
        buckets=tuple(
            replace(one, record_only=_records(guard, one.rule)) for one in _buckets(guard) if _is_on(guard, one.rule)
        ),
        breakers=tuple(
            replace(one, record_only=_records(guard, one.rule)) for one in _breakers(guard) if _is_on(guard, one.rule)
        ),
        ceilings=spend.ceilings("spend.application", "spend", guard.mode("spend.application")),
        ceilings_of_countries=_ceilings_of_countries(guard, spend),
        failures=_failures(guard),
        known=guard.number.known_days * DAY,
        contexts=guard.number.contexts,
    )
    return replace(ruleset, lifetimes=_lifetimes(ruleset))


def _is_on(guard: GuardSettings, rule: str) -> bool:
    return guard.mode(rule) is not Mode.OFF


def _records(guard: GuardSettings, rule: str) -> bool:
    return guard.mode(rule) is Mode.RECORD_ONLY


def _windows(guard: GuardSettings, limits: Limits) -> Iterator[Window]:
    for scope, rule in _RULE_OF_SCOPE.items():
        if not _is_on(guard, rule):
            continue
        for position, limit in enumerate(getattr(limits, scope)):
            yield Window(
                rule=rule,
                scope=limit.scope,
                strategy=limit.strategy,
                amount=limit.amount,
                seconds=limit.seconds,
                for_unknown=_for_unknown(guard, limit) if scope in {"number", "failed_checks"} else None,
                quota=scope == "application" and position == 0,
                record_only=_records(guard, rule),
            )


def _for_unknown(guard: GuardSettings, limit: Limit) -> int:
    """Return how much of a window is for strangers: at least one, for nobody is known to begin with."""
    return max(1, limit.amount - math.ceil(guard.number.reserved * limit.amount))


def _waits(guard: GuardSettings, rule: str, seconds: tuple[int, ...], reset_after: int) -> Waits | None:
    if not seconds or not _is_on(guard, rule):
        return None
    waits = tuple(1000 * one for one in seconds)
    return Waits(rule, waits, max(reset_after, 2 * max(waits)), record_only=_records(guard, rule))


def _lock(guard: GuardSettings) -> Lock | None:
    if not _is_on(guard, "number.lock"):
        return None
    record_only = _records(guard, "number.lock")
    return Lock("number.lock", guard.number.lock_after, guard.number.lock_days * DAY, record_only=record_only)


def _buckets(guard: GuardSettings) -> Iterator[Bucket]:
    growth = guard.country.growth
    address: dict[str, Any] = {"part": "address", "exempts": "known_device", "starts": True}
    yield from _each("address.unapproved", guard.address.unapproved, **address)
    yield from _each("address.numbers", guard.address.numbers, **address, name="n", new="number")
    yield from _each("address.countries", guard.address.countries, **address, name="c", new="country")
    yield from _each("address.network", guard.address.network, **{**address, "part": "network"})
    yield from _each("address.provider", guard.address.provider, **{**address, "part": "provider"})
    yield from _each("block.unapproved", guard.block.unapproved, guard.block.growth, part="block")
    yield from _each("country.unapproved", guard.country.unapproved, growth, part="country", place="abroad")
    yield from _each("country.unapproved", guard.country.home, growth, part="country", place="home")
    yield from _trickles(guard.conversion)


def _trickles(conversion: ConversionSettings) -> Iterator[Bucket]:
    """Yield what passes while a breaker is open, or shows whether it may close."""
    probing: dict[str, Any] = {
        "notations": (conversion.trickle,),
        "name": "t",
        "factor": 0.0,
        "breaker_state": "probing",
    }
    yield from _each("block.conversion", part="block", breaker="block", **probing)
    yield from _each("country.conversion", part="country", breaker="country", place="abroad", **probing)
    shut: dict[str, Any] = {"name": "h", "breaker": "country", "breaker_state": "open"}
    yield from _each("country.conversion", (conversion.home,), part="country", factor=0.25, place="home", **shut)
    yield from _each("country.conversion", (conversion.home_block,), part="block", **shut)  # abroad nothing passes


def _each(
    rule: str,
    notations: tuple[str, ...],
    growth: tuple[float, ...] = (1.0,),
    *,
    name: str = "u",
    **members: Any,  # noqa: ANN401
) -> Iterator[Bucket]:
    """Yield a bucket for each notation; where nothing else is said it exempts approved numbers."""
    for place, notation in enumerate(notations):
        amount, seconds = parse_notation(f"guard: {rule}", notation)
        given: dict[str, Any] = {"factor": growth[min(place, len(growth) - 1)], "exempts": "approved", **members}
        yield Bucket(rule=rule, name=f"{name}{seconds}", amount=amount, window=1000 * seconds, **given)


def _breakers(guard: GuardSettings) -> Iterator[ConversionBreaker]:
    conversion = guard.conversion
    for part, place, passes_while_open in (
        ("block", None, False),
        ("country", "abroad", False),
        ("country", "home", True),
    ):
        yield ConversionBreaker(
            sends=max(conversion.sends, conversion.home_sends) if place == "home" else conversion.sends,
            rate=conversion.rate,
            closed_for=1000 * conversion.closed_for,
            max_closed_for=1000 * max(conversion.closed_for, conversion.max_closed_for),
            passes_while_open=passes_while_open,
            rule=f"{part}.conversion",
            part=part,
            exempts="approved",
            place=place,
        )


def _ceilings_of_countries(guard: GuardSettings, spend: SpendSettings) -> Mapping[str, tuple[Ceiling, ...]]:
    """Return the ceilings by country. One that is named with none has none: those of all others are not its own."""
    mode = guard.mode("spend.country")
    ceilings = {
        country: own.ceilings("spend.country", "spendcountry", mode) for country, own in spend.countries.items()
    }
    return ceilings if any(ceilings.values()) else {}


def _failures(guard: GuardSettings) -> Failures | None:
    rule, own = "application.failures", guard.failures
    if not _is_on(guard, rule):
        return None
    return Failures(rule, own.wrong, own.share, 1000 * own.window, record_only=_records(guard, rule))


def _lifetimes(ruleset: Ruleset) -> dict[str, int]:
    """Return how long each part is kept that is not written: until nothing of it counts any more."""
    asked = max((bucket.window for bucket in ruleset.buckets if bucket.new), default=DAY)
    lifetimes = {"asked": asked, "spend": 2 * DAY, "spendcountry": 2 * DAY, "guesses": ruleset.known}
    lifetimes["cooldown"] = ruleset.cooldown.reset_after if ruleset.cooldown else HOUR
    lifetimes["failures"] = 2 * ruleset.failures.window if ruleset.failures else HOUR
    for bucket in ruleset.buckets:
        lifetimes[bucket.part] = max(lifetimes.get(bucket.part, 0), 2 * bucket.window)
    for breaker in ruleset.breakers:
        lifetimes[breaker.part] = max(lifetimes.get(breaker.part, 0), breaker.max_closed_for + 2 * HOUR)
    if ruleset.lock:
        lifetimes["guesses"] = max(lifetimes["guesses"], ruleset.lock.length)
    return lifetimes


MASK = "**********"
"""As pydantic writes a `SecretStr`."""

_TELLING = re.compile(r"auth|key|token|secret|pass|pwd|credential|signature|cookie|bearer|\bsig\b", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"(\{[\w.]+\})+")
_WEB = ("http://", "https://")


def mask_secrets(value: Any, name: str = "") -> Any:  # noqa: ANN401 - a tree of plain values
    """Return a tree with every value masked whose name tells that it is a secret: ``X-Api-Key``, ``password``.

    So is what an address of the web has before its host and in its query. Headers and parameters of a gateway are
    free text: somebody may have written the token itself into them.
    """
    if isinstance(value, Mapping):
        return {member: mask_secrets(below, f"{name} {member}") for member, below in value.items()}
    if isinstance(value, list):
        return [mask_secrets(below, name) for below in value]
    if isinstance(value, str | int | float) and not isinstance(value, bool) and _TELLING.search(name):
        return MASK
    return _masked_url(value) if isinstance(value, str) and value.lower().startswith(_WEB) else value


def _masked_url(url: str) -> str:
    """Return an address without its user and password, and with the values in its query masked."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    _, at, host = parts.netloc.rpartition("@")
    shown = SplitResult(parts.scheme, MASK + at + host if at else host, parts.path, _masked_query(parts.query), "")
    return shown.geturl() + (f"#{MASK}" if parts.fragment else "")


def _masked_query(query: str) -> str:
    """Return a query with its names, and those values that are but placeholders of a template."""
    return "&".join(
        f"{name}={value if _PLACEHOLDER.fullmatch(value) else MASK}" if value else MASK
        for name, value in parse_qsl(query, keep_blank_values=True)
    )


class Settings(Section):
    """All settings of an installation. Neither its ``repr`` nor `redacted` shows a secret."""

    environment: Literal["production", "development"] = "production"
    """In production, what is unsafe refuses to start."""
    profile: str | None = None
    """What a country asks, laid below these settings, which may not contradict it: ``pk``, or the path of a file."""
    residency: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) that personal data may not leave; each part that handles some says where it is."""
    plaintext_hosts: tuple[Host, ...] = ()
    """Hosts that production may reach without encryption, or unverified, over a network of your own."""
    redis: RedisSettings = RedisSettings()
    ledger: LedgerSettings = LedgerSettings()
    retention: RetentionSettings = RetentionSettings()
    audit: AuditSettings = AuditSettings()
    keys: KeysSettings = KeysSettings()
    http: HttpSettings = HttpSettings()
    limits: LimitsSettings = LimitsSettings()
    guard: GuardSettings = GuardSettings()
    purposes: dict[Name, PurposeSettings] = Field(default_factory=dict)
    applications: dict[Name, ApplicationSettings] = Field(default_factory=dict)
    gateways: dict[Name, GatewayEntry] = Field(default_factory=dict)
    routes: tuple[RouteSettings, ...] = ()
    """Without a route, all gateways carry all messages, in the order of their sections."""
    countries: Countries = Field(default_factory=dict)
    """What countries ask of messages to their numbers."""
    senders: Senders = Field(default_factory=dict)
    """Names that handsets show, as they are registered."""
    approvals: Approvals = Field(default_factory=dict)
    """Templates that are approved, word by word."""
    policies: dict[Name, PolicyEntry] = Field(default_factory=dict)
    """A site's own rules, asked before a dispatch in the order of their sections."""
    worker: WorkerSettings = WorkerSettings()
    breaker: BreakerSettings = BreakerSettings()
    streams: StreamsSettings = StreamsSettings()
    messages: MessagesSettings = MessagesSettings()
    inbound: InboundSettings = InboundSettings()
    logging: LoggingSettings = LoggingSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    _files: Mapping[Path, bool] = PrivateAttr(default_factory=dict)

    @property
    def files(self) -> Mapping[Path, bool]:
        """The files that these settings were read from, each with whether secrets stand in it."""
        return self._files

    def read_from(self, files: Mapping[Path, bool]) -> Self:
        """Note the files that these settings were read from, each with whether secrets stand in it."""
        self._files = files
        return self

    @property
    def production(self) -> bool:
        """Whether what is unsafe is refused."""
        return self.environment == "production"

    @property
    def claim_after(self) -> float:
        """Seconds after which another worker takes over the job of one that is silent."""
        slowest = max((gateway.settings.timeout for gateway in self.gateways.values()), default=0.0)
        return slowest + self.worker.claim_margin

    @cached_property
    def named_purposes(self) -> dict[str, Purpose]:
        """Purposes by name."""
        return {name: purpose.as_purpose(name) for name, purpose in self.purposes.items()}

    @cached_property
    def named_applications(self) -> dict[str, Application]:
        """Applications by name."""
        return {name: application.as_application(name) for name, application in self.applications.items()}

    @cached_property
    def application_of_key(self) -> dict[str, Application]:
        """Applications by the hashes of their API keys (``sha256:…``)."""
        return {
            key: self.named_applications[name]
            for name, application in self.applications.items()
            for key in application.keys
        }

    @cached_property
    def rulesets(self) -> dict[str, Ruleset]:
        """The rules of the guard, by the name of the application."""
        return {
            name: build_ruleset(self.guard, self.limits.parsed, application.spend)
            for name, application in self.applications.items()
        }

    @cached_property
    def prices(self) -> dict[str, Prices]:
        """What messages cost, by the name of the gateway."""
        return {
            name: Prices({key: to_micros(amount) for key, amount in gateway.settings.prices.items()})
            for name, gateway in self.gateways.items()
        }

    @cached_property
    def sending_rules(self) -> SendingRules:
        """What countries ask of messages, and what is registered there."""
        return SendingRules(
            rules={country: asked.rules(production=self.production) for country, asked in self.countries.items()},
            senders=tuple(sender.as_sender(name) for name, sender in self.senders.items()),
            approvals=tuple(approval.as_approval(name) for name, approval in self.approvals.items()),
            shows_sender=frozenset(name for name, one in self.gateways.items() if one.settings.sets_sender),
            sim_boxes=frozenset(name for name, one in self.gateways.items() if one.settings.sim_box),
        )

    @cached_property
    def routing(self) -> Routes:
        """The routing table; one route through all gateways when none is configured."""
        every = (Route(tuple(self.gateways)),) if self.gateways else ()
        routes = tuple(route.route for route in self.routes) or every
        channels = {name: gateway.channels for name, gateway in self.gateways.items()}
        return Routes(routes, channels)

    @cached_property
    def gateway_limits(self) -> dict[str, GatewayLimits]:
        """What each gateway may be asked to do, by its name."""
        return {name: self._limits_of(gateway.settings) for name, gateway in self.gateways.items()}

    def _limits_of(self, gateway: GatewaySettings) -> GatewayLimits:
        return GatewayLimits(
            per_second=gateway.per_second or 0.0,
            in_flight=gateway.max_in_flight or 0,
            lease=round(1000 * (gateway.timeout + self.worker.claim_margin)),
            slow=gateway.slow or gateway.timeout / 2,
        )

    def keyring(self) -> Keyring:
        """Return the keys; raise `ConfigurationError` when one is missing, too short or a sample."""
        if self.keys.root is None or self.keys.pseudonym is None:
            raise ConfigurationError("OTP_SERVICE_ROOT_KEYS and OTP_SERVICE_PSEUDONYM_KEY are needed.")
        return Keyring(
            parse_root_keys(self.keys.root.get_secret_value()),
            parse_key(self.keys.pseudonym.get_secret_value()),
            self.keys.bucket_bits,
        )

    def redacted(self) -> dict[str, Any]:
        """Return the tree in plain values as it is written in a file, every secret masked."""
        tree = self.model_dump(mode="json", exclude_none=True, by_alias=True)
        tree["redis"]["url"] = self.redis.shown_url
        tree["ledger"]["url"] = self.ledger.shown_url
        tree["guard"]["destinations"]["safe"] = [MASK] * len(self.guard.destinations.safe)
        for section in ("gateways", "policies"):
            tree[section] = {
                name: {"kind": one["kind"], **mask_secrets(one["settings"])} for name, one in tree[section].items()
            }
        return tree
