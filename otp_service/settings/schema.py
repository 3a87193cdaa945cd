"""Every setting by section, with type, default and bounds; the source of docs/configuration.md."""

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple
from datetime import date
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from ipaddress import IPv6Network, ip_network
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    SerializeAsAny,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from otp_service.domain.applications import (
    LOCALE_PATTERN,
    MAX_LOCALE,
    MAX_SKEW,
    NO_HUMAN_CHECK,
    Application,
    ClientIpSource,
    TotpSkew,
)
from otp_service.domain.audit import RetentionDays
from otp_service.domain.consents import ConsentMode
from otp_service.domain.guard import (
    DAY,
    GUARD_RULES,
    HOUR,
    Ceiling,
    DestinationRules,
    Limits,
    LimitScope,
    Mode,
    parse_limits,
)
from otp_service.domain.hosted_pages import (
    DEFAULT_COLOR,
    MIN_CONTRAST,
    contrast_with_white,
    is_color,
    is_return_address,
)
from otp_service.domain.inbound import MAX_KEYWORD_LENGTH, InboundRules, KeywordMatcher, Keywords, Meaning
from otp_service.domain.numbers import ANY_TYPE, NumberType, is_region, parse_destination
from otp_service.domain.payments import MAX_NAME_LENGTH, broken_name_rule
from otp_service.domain.prices import to_micros
from otp_service.domain.proofs import MAX_LIFE
from otp_service.domain.routing import BreakerThresholds, Route
from otp_service.domain.sending_rules import Approval, CountryRules, Sender
from otp_service.domain.templates import is_own_link, links_in
from otp_service.domain.verification import MAX_CODE_LIFE, Channel, FactorKind, Purpose, PurposeKind, Resend
from otp_service.domain.webhooks import TargetRules, WebhookRules
from otp_service.errors import ConfigurationError, OtpServiceError
from otp_service.gateways.base import (
    GATEWAY_KINDS,
    CountryCode,
    Gateway,
    GatewaySettings,
    checked_country_code,
)
from otp_service.plugins import PluginKinds
from otp_service.policies.base import POLICY_KINDS, Policy, PolicySettings
from otp_service.policies.human_checks import (
    HUMAN_CHECK_KINDS,
    HumanCheckSettings,
    HumanCheckVerifier,
)
from otp_service.settings.sources import KIND_FAULTS, SettingFault, model_faults, plain_sentence, suggestion
from otp_service.settings.urls import checked_ledger_url, checked_redis_url, url_without_secrets

Kind = TypeVar("Kind")
KindSettings = TypeVar("KindSettings", bound=BaseModel)
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535)]
PortOrNone = Annotated[int, Field(ge=0, le=65535)]
"""A port, or 0 to disable."""
HostAndPort = Annotated[str, Field(pattern=r"^[^\s:@/]+:[0-9]{1,5}$")]
Notations = tuple[Annotated[str, Field(max_length=64)], ...]


def accepts(test: Callable[[str], object], fault: str) -> AfterValidator:
    """Return a validator that accepts texts that pass a test, and raises ``fault`` for others."""

    def check(text: str) -> str:
        if not test(text):
            raise ValueError(fault)
        return text

    return AfterValidator(check)


class Section(BaseModel):
    """A frozen section of the settings; an unknown member is an error. Errors never show the value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class RedisSettings(Section):
    """The Redis server. The upper limits of the time-outs let a start fail within 1.5 s when Redis is down."""

    url: Annotated[SecretStr, AfterValidator(checked_redis_url)] = SecretStr("redis://localhost:6379/0")
    """``redis://``, ``rediss://`` (TLS) or ``unix://``; may contain user, password and TLS parameters. With
    ``sentinels`` the host is the primary's name at the Sentinels. A server in cluster mode is recognised, and names
    the others."""
    sentinels: tuple[HostAndPort, ...] = ()
    """Sentinels of the primary: host:port of each; with the TLS parameters of ``url``."""
    sentinel_user: str | None = None
    """User at the Sentinels, if not the default user."""
    sentinel_password: SecretStr | None = None
    """Password at the Sentinels."""
    replicas: int | None = Field(default=None, ge=0, le=5)
    """Replicas that must confirm an approval, a wrong code or a payment for a message (``WAIT``) before the answer; if
    fewer confirm in half of ``timeout``, the answer is 503. Default: 1 with ``sentinels``, and in cluster mode if
    servers have replicas; else 0."""
    timeout: float = Field(default=1.0, gt=0, le=1.0)
    """Seconds to wait for an answer."""
    connect_timeout: float = Field(default=0.5, gt=0, le=0.5)
    """Seconds to wait for a connection."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) of the server, for ``residency``."""

    @model_validator(mode="after")
    def _can_be_replaced(self) -> Self:
        if self.sentinels and self.url.get_secret_value().startswith("unix:"):
            raise ValueError("redis.url is a socket, but redis.sentinels needs the name of a primary.")
        return self

    @property
    def shown_url(self) -> str:
        """The URL without user, password and parameters."""
        return url_without_secrets(self.url.get_secret_value())


class ProofsSettings(Section):
    """Proofs of approvals."""

    issuer: str | None = Field(default=None, pattern=r"^https?://[^\s?#@]+$")
    """The ``iss`` of proofs; default: ``http.public_url``. Receivers compare it: do not change it."""
    life: int = Field(default=MAX_LIFE, ge=30, le=MAX_LIFE)
    """Seconds for which a proof is valid."""


class KeysSettings(Section):
    """The installation's keys. Both come from the environment, never from the configuration file."""

    root: SecretStr | None = None
    """``OTP_SERVICE_ROOT_KEYS``: ``id:base64 …``. The first key is active, the others are still accepted."""
    pseudonym: SecretStr | None = None
    """``OTP_SERVICE_PSEUDONYM_KEY``: base64. It never changes in an installation."""
    buckets: int = Field(default=1, ge=1, le=256)
    """Number of buckets of numbers, a power of two; it never changes in an installation. A cluster of several primaries
    needs about 16: a bucket is at one of them."""

    @field_validator("buckets")
    @classmethod
    def _is_power_of_two(cls, buckets: int) -> int:
        if buckets.bit_count() != 1:
            raise ValueError("The number of buckets is a power of two: 1, 2, 4, 8, 16, 32, 64, 128 or 256.")
        return buckets


class HttpSettings(Section):
    """The HTTP service."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8080
    """Port to listen on."""
    processes: int = Field(default=2, ge=1, le=256)
    """Server processes; about as many as cores."""
    threads: int = Field(default=2, ge=1, le=64)
    """Threads of each process that never wait for the ledger; two give the highest throughput."""
    ledger_calls: int = Field(default=10, ge=1, le=12)  # of the 15 connections in a process's pool
    """Maximum requests of each process that use the ledger at a time, each with a connection and a thread beyond
    ``threads``. Further requests wait a moment, then get ``ledger-unavailable``; starts and checks go on."""
    trusted_proxies: int = Field(default=0, ge=0, le=10)
    """Proxies in front of the service: the peer is that many entries from the right of ``X-Forwarded-For``."""
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#@]+$")
    """URL at which providers and browsers reach this service; without it, receipts and pages are off."""
    page_requests: int = Field(default=600, ge=10, le=100_000)
    """Maximum requests a minute for hosted pages from an address (IPv4) or /64 (IPv6)."""
    shutdown_delay: float = Field(default=0.0, ge=0, le=300)
    """Seconds to keep serving after a stop signal, while the readiness probe fails, so that proxies notice."""
    metrics_port: PortOrNone = 9090
    """Port of ``/metrics``; 0 to disable."""
    metrics_on_same_port: bool = False
    """Serve ``/metrics`` on ``port`` instead, to everyone who can reach it."""

    @property
    def all_threads(self) -> int:
        return self.threads + self.ledger_calls

    @field_validator("public_url")
    @classmethod
    def _ends_without_slash(cls, url: str | None) -> str | None:
        return url.rstrip("/") if url else url


class LimitsSettings(Section):
    """Limits in the notation of the ``limits`` library, such as ``10/day``; a list cannot repeat a window."""

    number: Notations = ("5/10 minutes", "10/day")
    """Messages to a number, all applications together."""
    ip: Notations = ("100/10 minutes",)
    """Starts from an end-user address (IPv4) or /64 (IPv6)."""
    application: Notations = ("6000/minute",)
    """Starts and resends of an application."""
    failed_checks: Notations = ("10/day",)
    """Wrong codes for a number in an application, all verifications together; the lock is
    ``guard.number.lock_after``."""
    pending_factors_of_user: int = Field(default=10, ge=1, le=100)
    """Maximum authenticator apps of a user that wait for their first code, ten minutes each."""
    pending_factors: int = Field(default=10_000, ge=1)
    """The same for an application. With several ``keys.buckets`` each bucket has its share."""

    @cached_property
    def parsed(self) -> Limits:
        """The parsed limits; raises `ConfigurationError` for a bad notation."""
        return {scope: parse_limits(scope, getattr(self, scope)) for scope in LimitScope}


class WorkerSettings(Section):
    """The delivery worker."""

    concurrency: int = Field(default=128, ge=1, le=1024)
    """Threads of a worker process, each for a gateway call at a time. With several gateways each has at most half."""
    claim_margin: Seconds = 5.0  # see `Settings.claim_after`
    """Seconds beyond the slowest gateway's timeout after which another worker claims a silent worker's job."""
    backoff: tuple[Annotated[float, Field(ge=0.1, le=600)], ...] = Field(
        default=(1.0, 5.0, 15.0, 30.0), min_length=1, max_length=20
    )
    """Seconds to wait after the first, second … failed round of gateways; the last value repeats.

    Up to a quarter is added at random. No wait is longer than half of the code's remaining lifetime.
    """
    max_ambiguous: int = Field(default=1, ge=0, le=20)
    """Maximum further attempts after calls that may have sent the message, such as a time-out."""
    metrics_port: PortOrNone = 9091
    """Port of the worker's ``/metrics`` and ``/healthz``; 0 to disable."""


class BreakerSettings(Section):
    """When a gateway's circuit breaker opens.

    A call is bad if it fails or lasts longer than the gateway's ``slow``. Calls count in the order in which they began.
    """

    bad_in_a_row: int = Field(default=5, ge=1, le=1000)
    """Consecutive bad calls that open the breaker."""
    bad_percent: int = Field(default=50, ge=1, le=100)
    """Percentage of bad calls in a window that opens the breaker."""
    min_calls: int = Field(default=20, ge=1, le=100_000)
    """Calls in a window below which the percentage does not count."""
    window: Seconds = 30.0
    """Length of a window in seconds."""
    open_for: float = Field(default=30.0, ge=0.1, le=86_400)
    """Seconds that the breaker stays open at first; the time doubles with each failed probe."""
    max_open_for: float = Field(default=1800.0, ge=0.1, le=86_400)
    """Maximum seconds that the breaker stays open."""
    throttled_for: float = Field(default=1.0, ge=0.01, le=3600)
    """Seconds without calls after the gateway throttles; the time doubles while it continues."""
    max_throttled_for: float = Field(default=30.0, ge=0.01, le=3600)
    """Maximum seconds without calls, unless the gateway asks for more (``Retry-After``)."""

    @property
    def thresholds(self) -> BreakerThresholds:
        """The settings for the store; times in milliseconds."""
        return BreakerThresholds(
            run=self.bad_in_a_row,
            calls=self.min_calls,
            percent=self.bad_percent,
            window=round(1000 * self.window),
            open_for=round(1000 * self.open_for),
            max_open_for=round(1000 * max(self.open_for, self.max_open_for)),
            throttled_for=round(1000 * self.throttled_for),
            max_throttled_for=round(1000 * max(self.throttled_for, self.max_throttled_for)),
        )


class StreamsSettings(Section):
    """The outbox and the event stream; each write trims them."""

    retention_days: int = Field(default=7, ge=1, le=90)
    """Days for which waiting messages, events and decisions are stored."""
    max_events: int = Field(default=1_000_000, ge=1000)
    """Approximate maximum of stored events in a bucket, which is trimmed every five seconds: set more than the events
    of ten seconds. With twice as many, starts are refused."""
    max_outbox: int = Field(default=100_000, ge=10)
    """Maximum waiting messages of an application, country and channel; further starts get ``backlog-full``."""


class MessagesSettings(Section):
    """The texts of messages."""

    directory: str | None = None
    """Folder with your own message files, which add languages or replace built-in texts."""


class LoggingSettings(Section):
    """Logs, written to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "console"] = "json"
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which logs and metrics are stored, for ``residency``."""


class TelemetrySettings(Section):
    """Traces; needs the extra ``otel``. OpenTelemetry's variables (``OTEL_…``) set their destination and sampling."""

    traces: Literal["otlp"] | None = None
    """``otlp``: export over HTTP to a collector."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which traces are stored, for ``residency``."""


NO_CEILING = "none"
"""In place of an amount: no ceiling, on purpose."""
_INTERVALS = {"hour": HOUR, "day": DAY}


def _amount(text: str) -> str:
    if text != NO_CEILING:
        to_micros(text)
    return text


Amount = Annotated[str, AfterValidator(_amount)]
CeilingCountry = Annotated[
    str,
    accepts(
        lambda name: name == "*" or is_region(name),
        "is an ISO 3166-1 alpha-2 code such as PK, or * for all other countries",
    ),
]


class CeilingSettings(Section):
    """Ceilings of spending in a calendar hour and a calendar day (UTC). Without an amount spending is unlimited."""

    hour: Amount | None = None
    """Amount in ``guard.currency``, such as ``"500.00"``; ``"none"``: no ceiling, on purpose."""
    day: Amount | None = None
    """The same for a day."""

    @property
    def is_set(self) -> bool:
        return any(amount not in {None, NO_CEILING} for amount in (self.hour, self.day))

    @property
    def is_decided(self) -> bool:
        return self.hour is not None or self.day is not None

    @property
    def is_waived(self) -> bool:
        return NO_CEILING in {self.hour, self.day}

    def ceilings(self, rule: str, mode: Mode) -> tuple[Ceiling, ...]:
        """Return the ceilings of a ``rule``; empty if it is off."""
        if mode is Mode.OFF:
            return ()
        return tuple(
            Ceiling(rule, name, length, to_micros(amount), record_only=mode is Mode.RECORD_ONLY)
            for name, length in _INTERVALS.items()
            if (amount := getattr(self, name)) not in {None, NO_CEILING}
        )


class SpendSettings(CeilingSettings):
    """Ceilings of an application, for all countries together and for single countries."""

    countries: dict[CeilingCountry, CeilingSettings] = Field(default_factory=dict)
    """Ceilings by country; ``"*"`` for each unlisted country."""

    @property
    def is_set(self) -> bool:
        return super().is_set or any(ceilings.is_set for ceilings in self.countries.values())

    def of_country(self, country: str) -> CeilingSettings:
        return self.countries.get(country) or self.countries.get("*") or CeilingSettings()

    def is_decided_for(self, countries: Iterable[str]) -> bool:
        """Whether each of ``countries`` has a ceiling or ``none``."""
        return self.is_decided or all(self.of_country(country).is_decided for country in countries)


ALL_COUNTRIES = "*"
MAX_TRANSACTION_CHECKS = 5
"""Maximum codes compared for a transaction (Delegated Regulation (EU) 2018/389, article 4(3)(b))."""
_NAME = re.compile(r"[a-z0-9_-]{1,32}")
_KEY_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_APP_HASH = re.compile(r"[A-Za-z0-9+/]{11}")
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ORIGIN_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})+")
_BROWSER_ORIGIN = re.compile(
    rf"(?:https://{_LABEL}(?:\.{_LABEL})*(?!:443$)|http://(?:localhost|127\.0\.0\.1)(?!:80$))(?::(?P<port>[1-9][0-9]{{0,4}}))?"
)
_MAX_ORIGIN, _MAX_PORT = 270, 65_535


def is_name(text: str) -> bool:
    """Whether a text is a valid name of an application, purpose or gateway."""
    return bool(_NAME.fullmatch(text))


def _country_or_all(country: str) -> str:
    return country if country == ALL_COUNTRIES else checked_country_code(country)


def _brand(name: str) -> str:
    composed = unicodedata.normalize("NFC", name)
    if rule := broken_name_rule(composed):
        raise ValueError(f"is shown in messages: it {rule}")
    return composed


def _browser_origin(origin: str) -> str:
    match = _BROWSER_ORIGIN.fullmatch(origin)
    if not match or len(origin) > _MAX_ORIGIN or int(match["port"] or 0) > _MAX_PORT:
        raise ValueError(
            "is an origin as browsers send it, https://HOST or https://HOST:PORT: lower case, no path, no slash at the "
            "end, no port 443; for development only also http://localhost and http://127.0.0.1, with a port or without"
        )
    return origin


def _page_color(color: str) -> str:
    if not (color.startswith("#") and is_color(color[1:])):
        raise ValueError("is a colour such as #0a6e4f")
    if contrast_with_white(color[1:]) < MIN_CONTRAST:
        raise ValueError(f"is too light: white on it has a contrast of less than {MIN_CONTRAST}")
    return color


Name = Annotated[str, accepts(is_name, "must have 1 to 32 characters of a-z, 0-9, _ and -")]
ReturnUrl = Annotated[
    str, accepts(is_return_address, "is https://, a host in lower case, and a path: no user, query or fragment")
]
Country = Annotated[str, AfterValidator(_country_or_all)]
KeyHash = Annotated[
    str,
    accepts(_KEY_HASH.fullmatch, "is not the hash of a key, sha256: and 64 hexadecimal digits (otp-service key new)"),
]
Origin = Annotated[
    str, accepts(_ORIGIN_HOST.fullmatch, "is a host name such as shop.example: lower case, no scheme, port or path")
]
AppHash = Annotated[
    str,
    accepts(_APP_HASH.fullmatch, "is the hash of an Android app for the SMS Retriever: 11 characters of base64"),
]
BrowserOrigin = Annotated[str, AfterValidator(_browser_origin)]
Locale = Annotated[str, StringConstraints(max_length=MAX_LOCALE, pattern=LOCALE_PATTERN)]
Brand = Annotated[str, AfterValidator(_brand)]
Payee = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH)]
Delay = Annotated[int, Field(ge=0, le=600)]
Steps = Annotated[int, Field(ge=0, le=MAX_SKEW)]


class PurposeSettings(Section):
    """The rules of a purpose. A verification keeps the rules of its start."""

    kind: PurposeKind = PurposeKind.POSSESSION
    """``possession``, or ``transaction``: the code is a function of an amount and a payee."""
    code_length: int = Field(default=6, ge=6, le=8)
    """Digits of a code."""
    ttl: int = Field(default=300, ge=1, le=MAX_CODE_LIFE)
    """Lifetime of a code in seconds (NIST SP 800-63B-4, 3.1.3.2: at most 10 minutes)."""
    max_checks: int = Field(default=5, ge=1, le=10)
    """Maximum codes compared before the verification ends; at most 5 for a transaction."""
    max_sends: int = Field(default=3, ge=1, le=10)
    """Maximum messages of a verification, including the first."""
    resend_delays: tuple[Delay, ...] = Field(default=(30, 60, 120), min_length=1, max_length=10)
    """Seconds to wait before the second, third … message; the last value repeats."""
    resend: Resend = Resend.SAME_CODE
    """Code of a further message: ``same_code`` or ``new_code``."""
    channels: tuple[Channel, ...] = Field(default=(Channel.SMS, Channel.VOICE), min_length=1, max_length=len(Channel))
    """Channels that callers may choose; the first is the default."""
    fallback: bool = True
    """Send the same code by the next channel if a channel does not reach the number."""
    acr: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[!-~]+$")] | None = None
    """The ``acr`` of proofs of this purpose, such as a level agreed with auditors; default: no ``acr``."""
    factors: tuple[FactorKind, ...] = Field(default=(FactorKind.MESSAGE,), min_length=1, max_length=2)
    """Factors that confirm: ``message``, ``totp`` (an authenticator app), or both. With the app first, a user with an
    app gets a message only on request."""
    recovery: bool = False
    """Whether a recovery code confirms too."""
    after: tuple[Name, ...] = ()
    """Step-up: a start needs a proof that the same user approved one of these purposes before; each proof is valid for
    a single start."""
    after_max_age: int = Field(default=600, ge=1, le=86400)
    """Seconds for which such an approval is valid."""
    linked_elsewhere: bool = False
    """Amount and payee are bound to the approval by other means (PSD2 RTS, article 5). Otherwise no app and no recovery
    code confirms a transaction, since neither depends on it."""

    @field_validator("channels", "factors")
    @classmethod
    def _has_no_repetition(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("repeats a name")
        return names

    @model_validator(mode="after")
    def _keeps_transactions_strict(self) -> "PurposeSettings":
        if self.kind is not PurposeKind.TRANSACTION:
            return self
        if self.max_checks > MAX_TRANSACTION_CHECKS:
            raise ValueError(f"max_checks is at most {MAX_TRANSACTION_CHECKS} for a transaction")
        for channel in self.channels:
            if not channel.traits.shows_words:
                raise ValueError(f"{channel} shows only a code, not the amount and payee of a transaction")
        if (self.recovery or FactorKind.TOTP in self.factors) and not self.linked_elsewhere:
            raise ValueError("an app or a recovery code does not depend on amount and payee: it needs linked_elsewhere")
        return self

    def as_purpose(self, name: str) -> Purpose:
        return Purpose(name=name, **{member: value for member, value in self if member != "linked_elsewhere"})


class ApplicationSection(Section):
    """The rights and rules of an application, in the configuration or in the ledger."""

    name: Brand | None = None
    """Brand in messages; default: the name of the section."""
    purposes: tuple[Name, ...] = Field(min_length=1)
    """Its purposes."""
    countries: tuple[Country, ...] = Field(min_length=1)
    """Countries to which it may send; ``["*"]``, in development only: all countries."""
    region: CountryCode | None = None
    """Country whose national number format is accepted."""
    home: CountryCode | None = None
    """Country with most of its traffic, which the rules against fraud never close completely; default: ``region``, or
    the only country."""
    spend: SpendSettings = SpendSettings()
    """Ceilings in money."""
    locale: Locale = "en"
    """Language of messages for a start without a locale."""
    client_ip: ClientIpSource = ClientIpSource.REQUIRED
    """Source of the end user's address: ``required`` (the request), ``connection`` (default: the peer), ``none``."""
    origin: Origin | None = None
    """Host on the last line of a message, which binds the code to a web site (WebOTP)."""
    app_hash: AppHash | None = None
    """Hash of its Android app on the last line of a message, for the SMS Retriever."""
    consent: ConsentMode = ConsentMode.RECORDED
    """``required``: a start needs a consent; ``recorded``: consents are stored, and a withdrawal stops messages;
    ``off``: consents are not stored."""
    payees: tuple[Payee, ...] = ()
    """Allowed names of payees that look like a domain name."""
    totp_skew: tuple[Steps, ...] = Field(default=astuple(TotpSkew()), min_length=2, max_length=2)
    """Numbers of accepted codes of an authenticator app before and after the current code."""
    human_check: Name = NO_HUMAN_CHECK
    """Human check of end users before unknown numbers are refused: ``none``; ``assertion``: the application checks and
    states it in the start; or the name of a section of ``human_checks``, which verifies a token."""
    proofs: bool = False
    """Whether an approval includes a signed proof, which others verify without this service (section ``proofs``)."""
    browser_origins: Annotated[tuple[BrowserOrigin, ...], Field(max_length=50)] = ()
    """Origins of web pages that may use its client tokens, such as ``https://shop.example``."""
    page_return_urls: tuple[ReturnUrl, ...] = Field(default=(), max_length=20)
    """Return URLs of hosted pages, each as in a start but without its query; empty: no pages. ``https://``, in
    development also ``http://localhost``. Needs ``http.public_url``."""
    page_color: Annotated[str, AfterValidator(_page_color)] = f"#{DEFAULT_COLOR}"
    """Colour of its pages, such as ``#0a6e4f``: dark enough for white text."""
    dialects: tuple[Name, ...] = ()
    """Other forms of the API that it may call: ``twilio``, with the libraries of Twilio Verify, below ``/twilio``."""

    @property
    def plain_origins(self) -> tuple[str, ...]:
        return tuple(origin for origin in self.browser_origins if origin.startswith("http:"))

    @property
    def asks(self) -> bool:
        return self.human_check != NO_HUMAN_CHECK

    @model_validator(mode="after")
    def _brand_is_no_strangers_link(self) -> Self:
        for link in links_in(self.name or ""):
            if not is_own_link(link, self.origin):
                raise ValueError("name contains a link or a domain name; messages may only have that of origin")
        return self

    def as_application(self, name: str) -> Application:
        only_country = self.countries[0] if len(self.countries) == 1 and ALL_COUNTRIES not in self.countries else None
        return Application(
            name=name,
            brand=self.name or name,
            purposes=frozenset(self.purposes),
            countries=None if ALL_COUNTRIES in self.countries else frozenset(self.countries),
            region=self.region,
            home=self.home or self.region or only_country,
            locale=self.locale,
            client_ip=self.client_ip,
            origin=self.origin,
            app_hash=self.app_hash,
            consent=self.consent,
            payees=frozenset(self.payees),
            totp_skew=TotpSkew(*self.totp_skew),
            human_check=self.human_check,
            proofs=self.proofs,
            browser_origins=frozenset(self.browser_origins),
            page_return_urls=frozenset(self.page_return_urls),
            page_color=self.page_color.removeprefix("#"),
            dialects=frozenset(self.dialects),
        )


class ApplicationSettings(ApplicationSection):
    """A caller of the API."""

    keys: tuple[KeyHash, ...] = ()
    """Hashes of its API keys (``otp-service key new``): two during a rotation, empty to revoke access."""


class RouteSettings(Section):
    """Gateways for matching messages. An empty condition matches all; the first match decides."""

    gateways: tuple[Name, ...] = Field(min_length=1)
    """Names of gateways, the preferred one first."""
    countries: tuple[CountryCode, ...] = ()
    purposes: tuple[Name, ...] = ()
    channels: tuple[Channel, ...] = ()

    @property
    def route(self) -> Route:
        return Route(
            gateways=self.gateways,
            countries=frozenset(self.countries),
            purposes=frozenset(self.purposes),
            channels=frozenset(map(str, self.channels)),
        )


_PREFIX = re.compile(r"\+[1-9][0-9]{0,14}")
_DAY = 86_400


def _rule(name: str) -> str:
    if name not in GUARD_RULES:
        raise ValueError(f"is not a rule.{suggestion(name, GUARD_RULES)} otp-service guard rules lists them")
    return name


def _whole_number(text: str) -> str:
    try:
        e164 = parse_destination(text, None, ANY_TYPE).e164
    except OtpServiceError:
        e164 = ""
    if e164 != text:
        raise ValueError("must be a whole number in international form, such as +923001234567")
    return text


RuleId = Annotated[str, AfterValidator(_rule)]
WholeNumber = Annotated[str, AfterValidator(_whole_number)]
Prefix = Annotated[
    str,
    accepts(_PREFIX.fullmatch, "must be the beginning of a number in international form, + and up to 15 digits"),
]
Growth = Annotated[tuple[Annotated[float, Field(ge=0, le=100)], ...], Field(min_length=1, max_length=10)]
Wait = Annotated[int, Field(ge=0, le=_DAY)]


class DestinationSettings(Section):
    """Numbers that may receive codes. Countries are a setting of each application."""

    types: tuple[NumberType, ...] = Field(default=(NumberType.MOBILE, NumberType.FIXED_LINE_OR_MOBILE), min_length=1)
    """Types of numbers that receive codes, in the terms of libphonenumber."""
    denied: tuple[Prefix, ...] = ()
    """Prefixes of numbers that receive no codes."""
    allowed: tuple[Prefix, ...] = ()
    """Exceptions from ``denied``: the longer of two matching prefixes decides."""
    safe: tuple[WholeNumber, ...] = Field(default=(), repr=False)
    """Whole numbers, such as your test handsets, that the rules against fraud let pass; their own limits apply."""


class NumberSettings(Section):
    """Limits on messages to a number and on guesses for it, beside ``limits.number`` and ``limits.failed_checks``."""

    reserved: float = Field(default=0.4, ge=0, lt=1)
    """Share of the number's messages and guesses that is reserved for known contexts, whatever unknown contexts and
    other applications used."""
    cooldown: tuple[Wait, ...] = Field(default=(30, 60, 120), max_length=20)
    """Seconds to wait after the first, second … consecutive message without an approval; the last value repeats."""
    guess_waits: tuple[Wait, ...] = Field(default=(0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600), max_length=50)
    """Seconds to wait after the first, second … consecutive wrong code; the last value repeats."""
    lock_after: int = Field(default=100, ge=10, le=100)
    """Consecutive wrong codes that lock a number in an application (NIST SP 800-63B-4, 3.2.2: at most 100)."""
    lock_days: int = Field(default=30, ge=1, le=90)
    """Days until the lock ends, unless an operator lifts it."""
    known_days: int = Field(default=90, ge=1, le=365)
    """Days for which a number or its context is known after an approval."""
    known_messages: int = Field(default=3, ge=1, le=20)
    """Consecutive unapproved messages after which the rules on fraud treat a known number as unknown, except in its
    known contexts."""
    known_messages_abroad: int = Field(default=2, ge=1, le=20)
    """The same for numbers outside the application's home."""
    contexts: int = Field(default=8, ge=1, le=50)
    """Known contexts of a number in an application; a new context replaces the oldest."""


class AddressSettings(Section):
    """Unapproved starts from an end-user address; each approval from it allows another."""

    unapproved: Notations = ("40/day",)
    """Starts from an address."""
    numbers: Notations = ("20/day",)
    """Different numbers from an address."""
    countries: Notations = ("3/day",)
    """Different countries from an address."""
    network: Notations = ("200/day",)
    """Starts from an IPv6 /48."""
    provider: Notations = ("2000/day",)
    """Starts from an IPv6 /32."""


class BlockSettings(Section):
    """Unapproved messages into a block of 10,000 numbers, and further messages for each approval in it."""

    unapproved: Notations = ("4/hour", "4/2 days")
    """Messages into a block, all applications together."""
    growth: Growth = (1.0, 1.5)
    """Further messages for each approval, by limit of ``unapproved``; the last value repeats."""


class CountryGuardSettings(Section):
    """Unapproved messages of an application into a country, and further messages for each approval in it."""

    unapproved: Notations = ("20/day",)
    """Messages into a country other than the application's ``home``."""
    home: Notations = ("1000/day",)
    """Messages into the application's ``home``."""
    growth: Growth = (2.0,)
    """Further messages for each approval, by limit; the last value repeats."""


class ConversionSettings(Section):
    """When a block or country is closed because too few codes are entered."""

    sends: int = Field(default=20, ge=5, le=100_000)
    """Verifications below which the rate is not judged."""
    rate: float = Field(default=0.15, gt=0, lt=1)
    """Share of approved verifications below which a block or country is closed."""
    closed_for: int = Field(default=900, ge=60, le=_DAY)
    """Seconds that it stays closed at first; the time doubles while the rate is too low."""
    max_closed_for: int = Field(default=_DAY, ge=60, le=7 * _DAY)
    """Maximum seconds that it stays closed."""
    trickle: Annotated[str, Field(max_length=64)] = "10/10 minutes"
    """Messages that pass after that time, until the rate can be judged again."""
    home_sends: int = Field(default=200, ge=5, le=100_000)
    """As ``sends``, for the application's ``home``, which fraud in a few blocks must not close to new numbers."""
    home: Annotated[str, Field(max_length=64)] = "100/day"
    """Messages that pass into the application's ``home`` while it is closed; every four approvals allow another."""
    home_block: Annotated[str, Field(max_length=64)] = "2/2 days"
    """Messages that pass into a block of ``home`` while it is closed."""


class FailureSettings(Section):
    """When to raise an alarm because most codes of an application are wrong."""

    wrong: int = Field(default=100, ge=10, le=1_000_000)
    """Wrong codes in a window below which the share is not judged."""
    share: float = Field(default=0.5, gt=0, lt=1)
    """Share of wrong codes above which the alarm is raised."""
    window: int = Field(default=600, ge=60, le=_DAY)
    """Length of a window in seconds."""


class GuardSettings(Section):
    """The rules against abuse. The mode of each is ``enforce``, ``record_only`` or ``off``."""

    modes: dict[RuleId, Mode] = Field(default_factory=dict)
    """Modes of rules by id; the default for all others."""
    destinations: DestinationSettings = DestinationSettings()
    number: NumberSettings = NumberSettings()
    address: AddressSettings = AddressSettings()
    block: BlockSettings = BlockSettings()
    country: CountryGuardSettings = CountryGuardSettings()
    conversion: ConversionSettings = ConversionSettings()
    failures: FailureSettings = FailureSettings()
    currency: str = Field(default="PKR", pattern=r"^[A-Z]{3}$")
    """Currency of all prices and ceilings (ISO 4217)."""
    decisions: int = Field(default=100_000, ge=1000, le=10_000_000)
    """Maximum stored decisions (refusals, and those of ``record_only``); they are stored as long as events."""

    @model_validator(mode="before")
    @classmethod
    def _reads_dotted_ids(cls, members: Any) -> Any:  # noqa: ANN401 - any value of the file
        """Accept ``number.sends = "off"`` under ``[guard.modes]``, which TOML reads as a table in a table."""
        modes = members.get("modes") if isinstance(members, dict) else None
        if not isinstance(modes, dict):
            return members
        flat: dict[str, Any] = {}
        for name, mode in modes.items():
            if isinstance(mode, dict):
                flat.update({f"{name}.{rule}": value for rule, value in mode.items()})
            else:
                flat[name] = mode
        return {**members, "modes": flat}

    def destination_rules(self) -> DestinationRules:
        own = self.destinations
        return DestinationRules(frozenset(own.types), own.denied, own.allowed, frozenset(own.safe), self.modes)

    def mode(self, rule: str) -> Mode:
        return self.modes.get(rule, GUARD_RULES[rule].mode)


ANY: Final = "any"
Category = Literal["transactional", "promotional"]
TemplateId = Annotated[str, StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9-]+/[a-z0-9_-]+/[a-z]+$")]


class CountrySettings(Section):
    """Requirements of a country for messages to it; by default none."""

    consent: Literal["required", "any"] = ANY
    """``required``: applications need a consent for each number."""
    senders: Literal["registered", "any"] = ANY
    """``registered``: text messages need a sender that ``senders`` registers for the country."""
    category: Category | Literal["any"] = ANY
    """Category of such a sender."""
    reserved_sender_ids: tuple[str, ...] = ()
    """Names that a sender may not have."""
    templates: Literal["approved", "any"] = ANY
    """``approved``: text messages need a template that ``approvals`` has, word by word."""
    languages: tuple[Locale, ...] = ()
    """Languages of messages; the first is the default. Empty: any."""
    sim_boxes: Literal["refused", "any"] = ANY
    """``refused``: in production, gateways with ``sim_box`` carry no messages to it."""

    def rules(self, *, production: bool) -> CountryRules:
        """Return the rules; ``sim_boxes`` applies in production only."""
        return CountryRules(
            registered_senders=self.senders == "registered",
            category=None if self.category == ANY else self.category,
            approved_templates=self.templates == "approved",
            sim_boxes_refused=production and self.sim_boxes == "refused",
            languages=self.languages,
        )


class RegistrationSettings(Section):
    """Settings that senders and approvals share."""

    country: CountryCode
    reference: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """The registrar's number or name of the registration."""
    valid_until: date | None = None
    """Last day of the registration; ``doctor`` warns 30 days before."""


class SenderSettings(RegistrationSettings):
    """A registered sender id, which handsets show as the sender."""

    sender_id: Annotated[str, StringConstraints(min_length=1, max_length=20)]
    """At most 11 letters, digits and blanks."""
    category: Category = "transactional"
    applications: tuple[Name, ...] = ()
    """Applications that use it; empty: all."""

    def as_sender(self, name: str) -> Sender:
        return Sender(name=name, **dict(self) | {"applications": frozenset(self.applications)})


class ApprovalSettings(RegistrationSettings):
    """A template that a country has approved, word by word."""

    template: TemplateId
    """Id of the template, such as ``en/possession/sms``."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Digest of its text; ``otp-service messages templates`` prints both."""

    def as_approval(self, name: str) -> Approval:
        return Approval(name=name, **dict(self))


ExtraKeywords = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEYWORD_LENGTH)], ...], Field(max_length=100)
]


class InboundSettings(Section):
    """Replies to messages from people, and keywords beside the built-in ones, in upper or lower case."""

    stop: ExtraKeywords = ()
    """Words that stop messages of the application that last wrote to the number."""
    start: ExtraKeywords = ()
    """Words that allow messages again."""
    help: ExtraKeywords = ()
    """Words that ask for the sender, and how to stop messages."""
    replies: tuple[Literal["stop", "help"], ...] = ("stop", "help")
    """Meanings with a reply, once a day for each number, unless the provider replies itself."""
    region: CountryCode | None = None
    """Country of senders' numbers, for providers that send them in national format."""
    inbox: bool = True
    """Whether messages without a keyword are stored, sealed, for support: 5 days at most."""

    @model_validator(mode="after")
    def _words_have_one_meaning(self) -> Self:
        _matcher_with(self.stop, self.start, self.help)
        return self

    @property
    def rules(self) -> InboundRules:
        matcher = _matcher_with(self.stop, self.start, self.help)
        return InboundRules(matcher, self.region, frozenset(map(Meaning, self.replies)), self.inbox)


@lru_cache(maxsize=8)
def _matcher_with(stop: tuple[str, ...], start: tuple[str, ...], help_: tuple[str, ...]) -> KeywordMatcher:
    """Return a matcher of built-in and further keywords; cached, because it is slow to build."""
    built_in = {meaning: languages.values() for meaning, languages in default_keywords().items()}
    return KeywordMatcher(built_in, {Meaning.STOP: stop, Meaning.START: start, Meaning.HELP: help_})


@cache
def default_keywords() -> dict[Meaning, dict[str, Keywords]]:
    table = tomllib.loads((files(__package__) / "inbound_keywords.toml").read_text(encoding="utf-8"))
    return {
        Meaning(meaning): {language: _keywords(keywords) for language, keywords in languages.items()}
        for meaning, languages in table.items()
    }


def _keywords(table: dict[str, Any]) -> Keywords:
    """Return the keywords of a language; each pair of a noun and a verb is a firm keyword."""
    phrases = map(" ".join, product(table.get("nouns", ()), table.get("verbs", ())))
    return Keywords(
        whole=tuple(table.get("whole", ())),
        firm=(*table.get("firm", ()), *phrases),
        of_messages=tuple(table.get("of_messages", ())),
        messages=tuple(table.get("messages", ())),
        beside=tuple(table.get("beside", ())),
    )


_NAT64_PREFIX: Final = 96


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            ip_network(text)
        except ValueError:
            raise ValueError("must be a list of networks such as 10.20.0.0/16 or fd00:1::/32") from None
    return texts


def _nat64_prefixes(texts: tuple[str, ...]) -> tuple[str, ...]:
    networks = [ip_network(text) for text in _networks(texts)]
    if any(not isinstance(network, IPv6Network) or network.prefixlen != _NAT64_PREFIX for network in networks):
        raise ValueError("must be a list of prefixes such as 64:ff9b::/96")
    return texts


class WebhookSettings(Section):
    """Webhooks to applications, by default only to the public internet over HTTPS."""

    timeout: float = Field(default=15.0, ge=1, le=30)
    """Maximum seconds of a call, with the look-up of the host's name."""
    concurrency: int = Field(default=32, ge=4, le=256)
    """Maximum simultaneous calls of a worker process: at most half for an application, and half for all slow endpoints.
    Calls that become slow go on beside these."""
    per_endpoint: int = Field(default=4, ge=1, le=64)
    """Maximum simultaneous calls of an endpoint over all workers; half of them while it is slow, a single call while it
    fails."""
    max_endpoints: int = Field(default=10, ge=1, le=100)
    """Maximum endpoints of an application."""
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(default=(443, 8443), min_length=1)
    """Allowed ports on the internet."""
    networks: Annotated[tuple[str, ...], AfterValidator(_networks)] = ()
    """Your own networks that webhooks may also reach, at any port, over HTTP too. An API key of scope ``webhooks``
    reaches everything in them."""
    nat64: Annotated[tuple[str, ...], AfterValidator(_nat64_prefixes)] = ()
    """NAT64 prefixes (/96) of your hosts: an address with such a prefix is judged by its IPv4 address."""

    @property
    def rules(self) -> WebhookRules:
        nat64 = tuple(map(IPv6Network, self.nat64))
        targets = TargetRules(frozenset(self.ports), tuple(map(ip_network, self.networks)), nat64)
        return WebhookRules(targets, self.timeout, self.max_endpoints)


class LedgerSettings(Section):
    """The database for data that must not be lost. Starts and checks of codes never query it."""

    url: Annotated[SecretStr, AfterValidator(checked_ledger_url)] = SecretStr(
        "sqlite:////var/lib/otp-service/ledger.db"
    )
    """``sqlite:///PATH``, for a single host, or ``postgresql://…``, with user, password and TLS parameters."""
    timeout: float = Field(default=5.0, gt=0, le=60)
    """Seconds to wait for a connection, a lock or an answer."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) of the database, its replicas and backups, for ``residency``."""
    upgrade: bool = True
    """Whether a process creates and upgrades the tables when it starts."""
    rebuild_lost_mirror: bool | None = None
    """Whether an empty Redis is filled from the ledger without an operator. A ledger restored from an older copy is
    then not noticed. Default: in development only."""

    @property
    def shown_url(self) -> str:
        """The URL without user, password and parameters."""
        return url_without_secrets(self.url.get_secret_value())


_SYSLOG: Final = re.compile(r"syslog:(/\S+|//[A-Za-z0-9.-]+(:[0-9]{1,5})?)")


def _is_export(text: str) -> bool:
    is_file = text.startswith("file:/") and Path(text.removeprefix("file:")).name
    return not text or bool(is_file or _SYSLOG.fullmatch(text))


class AuditSettings(Section):
    """The audit chain. Only an exported head shows a later removal of the last entries."""

    export: Annotated[str, accepts(_is_export, "must be file:/PATH, syslog:/dev/log or syslog://HOST:PORT")] = ""
    """Destination of signed heads: ``file:/PATH``, ``syslog:/dev/log`` or ``syslog://HOST:PORT`` (UDP); empty: none."""
    every: int = Field(default=3600, ge=60, le=86_400)
    """Seconds between heads."""


Days = Annotated[int, Field(ge=1, le=7300)]
WeekOrMore = Annotated[int, Field(ge=7, le=7300)]
ProofDays = Annotated[int, Field(ge=90, le=7300)]
"""At least 90, the maximum of ``streams.retention_days``: an event that is recorded late still finds later rows."""


class RetentionSettings(Section):
    """Days for which the ledger stores each class of data; workers delete older rows."""

    # Descriptions, not docstrings, because docs/data.md quotes them: pydantic reads docstrings from the source.
    traffic: Days = Field(400, description="Verifications and their history: bills are disputed within the year.")
    stats: Days = Field(1095, description="Hourly statistics without personal data: three years, to compare months.")
    consents: ProofDays = Field(
        1095, description="Replaced consents: three years, in which most claims must be brought. The latest stays."
    )
    suppressions: ProofDays = Field(
        1095, description="Lifted or ended suppressions: proof that they were respected, as long as a consent's."
    )
    inbound: WeekOrMore = Field(
        90,
        description="Messages from people. The suppression that a message made records its meaning. "
        "Gateways repeat messages for days.",
    )
    webhooks: WeekOrMore = Field(
        30,
        description="Webhooks and their outcomes: a receiver that lost some requests them again. "
        "They are tried for three days.",
    )
    factors: Days = Field(
        400,
        description="Authenticator apps and recovery codes that were removed, used or replaced, and their history. "
        "Secrets and labels go at once.",
    )
    access: Days = Field(
        400,
        description="Revoked or ended API keys and removed endpoints of webhooks: as long as the traffic that was sent "
        "with them.",
    )
    accountability: ProofDays = Field(
        1095, description="Erasures, automatic deletions and actions of operators: proof that they took place."
    )
    audit: ProofDays = Field(
        3650, description="The audit chain, which has digests only: ten years, longer than all data that it proves."
    )

    @model_validator(mode="after")
    def _the_chain_outlasts_what_it_proves(self) -> Self:
        days = self.model_dump()
        longest = max(days, key=days.__getitem__)
        if days[longest] > self.audit:
            raise ValueError(f"audit is shorter than {longest}: rows would outlast their entries")
        return self

    @property
    def days(self) -> RetentionDays:
        return RetentionDays(**dict(self))


class Configured(Section, Generic[Kind, KindSettings]):
    """An entry of ``gateways``, ``policies`` or ``human_checks``: its kind, and the settings of that kind's class."""

    kinds: ClassVar[PluginKinds[Any]]
    kind: str
    settings: SerializeAsAny[KindSettings]

    @model_validator(mode="before")
    @classmethod
    def _read(cls, members: Any) -> Any:  # noqa: ANN401 - any value of the file
        if not isinstance(members, Mapping):
            return members
        kind, own = members.get("kind"), {name: value for name, value in members.items() if name != "kind"}
        if not isinstance(kind, str):
            raise cls._refused([(("kind",), f"is one of {', '.join(cls.kinds.names())}.")])
        try:
            model: type[BaseModel] = cls.kinds.find(kind).Settings
            return {"kind": kind, "settings": model.model_validate(own)}
        except ConfigurationError as unusable:
            raise cls._refused([(("kind",), plain_sentence(str(unusable)))]) from None
        except ValidationError as invalid:
            raise cls._refused(list(model_faults(invalid, model))) from None

    @classmethod
    def _refused(cls, faults: list[SettingFault]) -> PydanticCustomError:
        # A ValidationError within a validator would become one error, whose text shows the value.
        return PydanticCustomError(KIND_FAULTS, f"is not a {cls.kinds.noun}", {"faults": faults})

    @property
    def plugin_class(self) -> type[Kind]:
        plugin_class: type[Kind] = self.kinds.find(self.kind)
        return plugin_class


class ConfiguredGateway(Configured[Gateway, GatewaySettings]):
    """An entry of ``gateways``."""

    kinds = GATEWAY_KINDS

    @property
    def channels(self) -> frozenset[str]:
        """The channels that it carries: by its settings, if they have ``channels``, else by its class."""
        return frozenset(getattr(self.settings, "channels", self.plugin_class.channels))


class ConfiguredPolicy(Configured[Policy, PolicySettings]):
    """An entry of ``policies``."""

    kinds = POLICY_KINDS


class ConfiguredHumanCheck(Configured[HumanCheckVerifier, HumanCheckSettings]):
    """An entry of ``human_checks``."""

    kinds = HUMAN_CHECK_KINDS


def walk_settings(value: Any, path: str, *, tables: bool = True) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - a kind's own
    """Yield dotted path and value of every member; ``tables``: also in tables with free names."""
    match value:
        case BaseModel():
            fields = type(value).model_fields.items()
            below: Any = ((field.alias or name, getattr(value, name)) for name, field in fields)
        case Mapping():
            below = value.items() if tables else ()
        case list() | tuple():
            below = enumerate(value)
        case _:
            yield path, value
            return
    for step, member in below:
        yield from walk_settings(member, f"{path}.{step}", tables=tables)
