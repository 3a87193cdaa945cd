"""Every setting, section by section: its type, default and bounds; docs/configuration.md is made of this."""

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple
from datetime import date
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from ipaddress import IPv6Network, ip_network
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
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
from otp_service.settings.urls import check_ledger_url, check_redis_url, place_of, shown_ledger_url

Kind = TypeVar("Kind")
KindSettings = TypeVar("KindSettings", bound=BaseModel)
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535)]
PortOrNone = Annotated[int, Field(ge=0, le=65535)]
"""A port; 0 for none."""
HostAndPort = Annotated[str, Field(pattern=r"^[^\s:@/]+:[0-9]{1,5}$")]
Notations = tuple[Annotated[str, Field(max_length=64)], ...]


class Section(BaseModel):
    """A section of the settings: frozen; an unknown member is an error. Errors never show the given value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class RedisSettings(Section):
    """The Redis server. The upper limits of the time-outs let a start fail within 1.5 s when Redis is down."""

    url: SecretStr = SecretStr("redis://localhost:6379/0")
    """``redis://``, ``rediss://`` (TLS) or ``unix://``; may hold user, password and TLS parameters. With ``sentinels``
    its host is the name under which they watch the primary."""
    cluster: bool = False
    """Whether the server of ``url`` is one of a cluster (Valkey 9 or later), which tells of the others."""
    sentinels: tuple[HostAndPort, ...] = ()
    """Sentinels that know the primary: host:port of each; with the TLS parameters of ``url``."""
    sentinel_user: str | None = None
    """The one that they know, where that is not their default user."""
    sentinel_password: SecretStr | None = None
    """Theirs, where they ask for one."""
    replicas: int | None = Field(default=None, ge=0, le=5)
    """Replicas that must have an approval, a wrong code, or money spent before it is answered (``WAIT``); where fewer
    have it in half of ``timeout``, the answer is 503. Default: 1 with ``sentinels`` or ``cluster``, else 0."""
    timeout: float = Field(default=1.0, gt=0, le=1.0)
    """Seconds to wait for an answer."""
    connect_timeout: float = Field(default=0.5, gt=0, le=0.5)
    """Seconds to wait for a connection."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which it runs, for ``residency``."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: SecretStr) -> SecretStr:
        check_redis_url(url.get_secret_value())
        return url

    @model_validator(mode="after")
    def _can_be_replaced(self) -> Self:
        if self.sentinels and self.url.get_secret_value().startswith("unix:"):
            raise ValueError("redis.url names a socket, where redis.sentinels needs the name of a primary.")
        return self

    @model_validator(mode="after")
    def _can_be_a_cluster(self) -> Self:
        is_socket = self.url.get_secret_value().startswith("unix:")
        if self.cluster and (self.sentinels or is_socket):
            raise ValueError("redis.cluster goes with neither redis.sentinels nor a socket.")
        return self

    @property
    def awaited_replicas(self) -> int:
        """How many replicas must have what may not be forgotten."""
        return int(bool(self.sentinels or self.cluster)) if self.replicas is None else self.replicas

    @property
    def shown_url(self) -> str:
        """The address without user, password and parameters."""
        parts = urlsplit(self.url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class ProofsSettings(Section):
    """Proofs of approvals."""

    issuer: str | None = Field(default=None, pattern=r"^https?://[^\s?#@]+$")
    """What proofs name as ``iss``; default: ``http.public_url``. Who checks proofs compares it: do not change it."""
    life: int = Field(default=MAX_LIFE, ge=30, le=MAX_LIFE)
    """Seconds for which a proof may be shown."""


class KeysSettings(Section):
    """The installation's keys. Both come from the environment, never from the configuration file."""

    root: SecretStr | None = None
    """``OTP_SERVICE_ROOT_KEYS``: ``id:base64 …``. The first key is active, the others are still accepted."""
    pseudonym: SecretStr | None = None
    """``OTP_SERVICE_PSEUDONYM_KEY``: base64. It never changes in the life of an installation."""
    buckets: int | None = Field(default=None, ge=1, le=256)
    """How many buckets numbers are in, a power of two; it never changes in the life of an installation. Default: 16
    with ``redis.cluster``, else 1."""

    @field_validator("buckets")
    @classmethod
    def _is_power_of_two(cls, buckets: int | None) -> int | None:
        if buckets and buckets.bit_count() != 1:
            raise ValueError("The number of buckets is a power of two: 1, 2, 4, 8, 16, 32, 64, 128 or 256.")
        return buckets


class HttpSettings(Section):
    """The HTTP service."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8080
    """Port to listen on."""
    processes: int = Field(default=2, ge=1, le=256)
    """Server processes; about one per core."""
    threads: int = Field(default=2, ge=1, le=64)
    """Threads of each process that the ledger never holds; two give the highest throughput."""
    ledger_calls: int = Field(default=10, ge=1, le=12)  # of the 15 connections in a process's pool
    """Requests of each process that may use the ledger at a time, each with a thread and a connection to it beyond
    ``threads``. Further ones wait a moment, then get ``ledger-unavailable``; starts and checks go on."""
    trusted_proxies: int = Field(default=0, ge=0, le=10)
    """Proxies in front of the service: the peer is that many entries from the right of ``X-Forwarded-For``."""
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#@]+$")
    """URL at which providers, and people's browsers, reach this service; without it, there are no receipts and no
    pages."""
    page_requests: int = Field(default=600, ge=10, le=100_000)
    """Requests for hosted pages that one address (IPv4) or /64 (IPv6) may make in a minute."""
    shutdown_delay: float = Field(default=0.0, ge=0, le=300)
    """Seconds to serve on after a signal to stop, while the readiness probe fails, so that proxies notice."""
    metrics_port: PortOrNone = 9090
    """Port of ``/metrics``; 0 for none."""
    metrics_on_same_port: bool = False
    """Serve ``/metrics`` on ``port`` instead, to everybody who can reach it."""

    @property
    def all_threads(self) -> int:
        """Threads of each process."""
        return self.threads + self.ledger_calls

    @field_validator("public_url")
    @classmethod
    def _ends_without_slash(cls, url: str | None) -> str | None:
        return url.rstrip("/") if url else url


class ConsoleSettings(Section):
    """The console: a web page for support, fraud, compliance and operations, a process of its own."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8082
    """Port to listen on."""
    threads: int = Field(default=4, ge=1, le=64)
    """Threads that answer."""
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s/?#@]+$")
    """Where people's browsers reach it, without a path: a host name of its own, over TLS. Requests for another host are
    refused. Without it, it answers on loopback only."""
    trusted_proxies: int = Field(default=0, ge=0, le=10)
    """Proxies in front of it: the browser's address is that many entries from the right of ``X-Forwarded-For``."""
    dev_token: SecretStr | None = Field(default=None, min_length=32)
    """Part of the address at which ``otp-service dev`` lets somebody sign in without a password. It is nothing in
    production, with a ``public_url``, or behind a proxy."""


class LimitsSettings(Section):
    """Limits in the notation of the ``limits`` library, such as ``10/day``; a list has each window once at most."""

    number: Notations = ("5/10 minutes", "10/day")
    """Messages to one number, all applications together."""
    ip: Notations = ("100/10 minutes",)
    """Starts from one end-user address (IPv4) or /64 (IPv6)."""
    application: Notations = ("6000/minute",)
    """Starts and resends of one application."""
    failed_checks: Notations = ("10/day",)
    """Wrong codes for one number in one application in a window, all verifications together; the lock is
    ``guard.number.lock_after``."""
    pending_factors_of_user: int = Field(default=10, ge=1, le=100)
    """Authenticator apps of one user that wait for their first code at once, ten minutes each."""
    pending_factors: int = Field(default=10_000, ge=1)
    """The same of one application. With several ``keys.buckets`` each has its share."""

    @cached_property
    def parsed(self) -> Limits:
        """The limits as the guard counts them; raises `ConfigurationError` for a bad notation."""
        return Limits(**{scope.value: parse_limits(scope, getattr(self, scope)) for scope in LimitScope})


class WorkerSettings(Section):
    """The delivery worker."""

    concurrency: int = Field(default=128, ge=1, le=1024)
    """Threads of a worker process, each for one gateway call at a time. Of several gateways one has at most half."""
    claim_margin: Seconds = 5.0  # see `Settings.claim_after`
    """Seconds beyond the slowest gateway's timeout after which another worker claims a silent worker's job."""
    backoff: tuple[Annotated[float, Field(ge=0.1, le=600)], ...] = Field(
        default=(1.0, 5.0, 15.0, 30.0), min_length=1, max_length=20
    )
    """Seconds to wait after the first, second … failed round of gateways; the last one repeats.

    Up to a quarter is added at random. No wait is longer than half of the code's remaining life.
    """
    max_ambiguous: int = Field(default=1, ge=0, le=20)
    """How often delivery goes on after a call that may have sent the message all the same, such as a time-out."""
    metrics_port: PortOrNone = 9091
    """Port of the worker's ``/metrics`` and ``/healthz``; 0 for none."""


class BreakerSettings(Section):
    """When a gateway's circuit breaker opens.

    A call is bad if it fails, or as soon as it has lasted for the gateway's ``slow``. Calls count in the order in which
    they began.
    """

    bad_in_a_row: int = Field(default=5, ge=1, le=1000)
    """Bad calls in a row that open the breaker."""
    bad_percent: int = Field(default=50, ge=1, le=100)
    """Percentage of bad calls in a window that opens the breaker."""
    min_calls: int = Field(default=20, ge=1, le=100_000)
    """Calls in a window below which the percentage does not count."""
    window: Seconds = 30.0
    """Length of a window in seconds."""
    open_for: float = Field(default=30.0, ge=0.1, le=86_400)
    """Seconds that the breaker stays open at first; the time doubles with each failed probe."""
    max_open_for: float = Field(default=1800.0, ge=0.1, le=86_400)
    """Seconds that the breaker stays open at most."""
    throttled_for: float = Field(default=1.0, ge=0.01, le=3600)
    """Seconds without calls after the gateway throttles us; the time doubles while it goes on to throttle."""
    max_throttled_for: float = Field(default=30.0, ge=0.01, le=3600)
    """Seconds without calls at most, unless the gateway asks for more (``Retry-After``)."""

    @property
    def thresholds(self) -> BreakerThresholds:
        """The settings in the form that the store takes; times in milliseconds."""
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
    """Days for which waiting messages, events and decisions are kept."""
    max_events: int = Field(default=1_000_000, ge=1000)
    """Events of a bucket that are kept at most, approximately: more than come in ten seconds, for they are trimmed
    every five. Where twice as many are, starts are refused."""
    max_outbox: int = Field(default=100_000, ge=10)
    """Messages of one application, country and channel that may wait; further starts are refused: ``backlog-full``."""


class MessagesSettings(Section):
    """The texts of messages."""

    directory: str | None = None
    """Folder with your own message files, which add languages or replace texts of ours."""


class LoggingSettings(Section):
    """Logs, written to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "console"] = "json"
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which logs and metrics are kept, for ``residency``."""


class TelemetrySettings(Section):
    """Traces; needs the extra ``otel``. OpenTelemetry's variables (``OTEL_…``) set their destination and sampling."""

    traces: Literal["otlp"] | None = None
    """``otlp``: export over HTTP to a collector."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which traces are kept, for ``residency``."""


NO_CEILING = "none"
"""In place of an amount: deliberately no ceiling."""
_INTERVALS = {"hour": HOUR, "day": DAY}


def _amount(text: str) -> str:
    if text != NO_CEILING:
        to_micros(text)
    return text


def _country(name: str) -> str:
    if name != "*" and not is_region(name):
        raise ValueError("is an ISO 3166-1 alpha-2 code such as PK, or * for all other countries")
    return name


Amount = Annotated[str, AfterValidator(_amount)]


class CeilingSettings(Section):
    """Ceilings of spending in a calendar hour and a calendar day (UTC). One that is not set does not limit."""

    hour: Amount | None = None
    """Amount in ``guard.currency``, such as ``"500.00"``; ``"none"``: deliberately no ceiling."""
    day: Amount | None = None
    """The same for a day."""

    @property
    def is_set(self) -> bool:
        """Whether there is any ceiling."""
        return any(amount not in {None, NO_CEILING} for amount in (self.hour, self.day))

    @property
    def is_decided(self) -> bool:
        """Whether there is any ceiling, or deliberately none."""
        return self.hour is not None or self.day is not None

    @property
    def is_waived(self) -> bool:
        """Whether a ceiling is deliberately absent."""
        return NO_CEILING in {self.hour, self.day}

    def ceilings(self, rule: str, mode: Mode) -> tuple[Ceiling, ...]:
        """Return the ceilings of a ``rule``; none when it is off."""
        if mode is Mode.OFF:
            return ()
        return tuple(
            Ceiling(rule, name, length, to_micros(amount), record_only=mode is Mode.RECORD_ONLY)
            for name, length in _INTERVALS.items()
            if (amount := getattr(self, name)) not in {None, NO_CEILING}
        )


class SpendSettings(CeilingSettings):
    """What an application may spend, in all countries together and in single ones."""

    countries: dict[Annotated[str, AfterValidator(_country)], CeilingSettings] = Field(default_factory=dict)
    """Ceilings by country; ``"*"`` for each country that is not listed."""

    @property
    def is_set(self) -> bool:
        """Whether there is any ceiling."""
        return super().is_set or any(ceilings.is_set for ceilings in self.countries.values())

    def of_country(self, country: str) -> CeilingSettings:
        """Return the ceilings of one country."""
        return self.countries.get(country) or self.countries.get("*") or CeilingSettings()

    def is_decided_for(self, countries: Iterable[str]) -> bool:
        """Tell whether each of ``countries`` has a ceiling, or deliberately none."""
        return self.is_decided or all(self.of_country(country).is_decided for country in countries)


ALL_COUNTRIES = "*"
MAX_TRANSACTION_CHECKS = 5
"""Codes that may be compared for a transaction (Delegated Regulation (EU) 2018/389, article 4(3)(b))."""
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
    """Tell whether a text may name an application, a purpose or a gateway."""
    return bool(_NAME.fullmatch(text))


def _name(name: str) -> str:
    if not is_name(name):
        raise ValueError("has 1 to 32 of a-z, 0-9, _ and -")
    return name


def _key_hash(text: str) -> str:
    if not _KEY_HASH.fullmatch(text):
        raise ValueError("is not the hash of a key, sha256: and 64 hexadecimal digits (otp-service key new)")
    return text


def _country_or_all(country: str) -> str:
    return country if country == ALL_COUNTRIES else checked_country_code(country)


def _brand(name: str) -> str:
    composed = unicodedata.normalize("NFC", name)
    if rule := broken_name_rule(composed):
        raise ValueError(f"stands in messages: it {rule}")
    return composed


def _origin(origin: str) -> str:
    if not _ORIGIN_HOST.fullmatch(origin):
        raise ValueError("is a host name such as shop.example: lower case, no scheme, port or path")
    return origin


def _browser_origin(origin: str) -> str:
    found = _BROWSER_ORIGIN.fullmatch(origin)
    if not found or len(origin) > _MAX_ORIGIN or int(found["port"] or 0) > _MAX_PORT:
        raise ValueError(
            "is an origin as browsers send it, https://HOST or https://HOST:PORT: lower case, no path, no slash at the "
            "end, no port 443; for development only also http://localhost and http://127.0.0.1, with a port or without"
        )
    return origin


def _app_hash(text: str) -> str:
    if not _APP_HASH.fullmatch(text):
        raise ValueError("is the hash of an Android app for the SMS Retriever: 11 characters of base64")
    return text


def _return_url(url: str) -> str:
    if not is_return_address(url):
        raise ValueError("is https://, a host in lower case, and a path: no user, query or fragment")
    return url


def _page_color(color: str) -> str:
    if not (color.startswith("#") and is_color(color[1:])):
        raise ValueError("is a colour such as #0a6e4f")
    if contrast_with_white(color[1:]) < MIN_CONTRAST:
        raise ValueError(f"is too light: white on it has a contrast of less than {MIN_CONTRAST}")
    return color


Name = Annotated[str, AfterValidator(_name)]
ReturnUrl = Annotated[str, AfterValidator(_return_url)]
Country = Annotated[str, AfterValidator(_country_or_all)]
KeyHash = Annotated[str, AfterValidator(_key_hash)]
BrowserOrigin = Annotated[str, AfterValidator(_browser_origin)]
Locale = Annotated[str, StringConstraints(max_length=MAX_LOCALE, pattern=LOCALE_PATTERN)]
Brand = Annotated[str, AfterValidator(_brand)]
Payee = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH)]
Delay = Annotated[int, Field(ge=0, le=600)]


class PurposeSettings(Section):
    """The rules of one purpose. A verification keeps the rules under which it was started."""

    kind: PurposeKind = PurposeKind.POSSESSION
    """``possession``, or ``transaction``: the code is a function of an amount and a payee."""
    code_length: int = Field(default=6, ge=6, le=8)
    """Digits of a code."""
    ttl: int = Field(default=300, ge=1, le=MAX_CODE_LIFE)
    """Life of a code in seconds (NIST SP 800-63B-4, 3.1.3.2: at most 10 minutes)."""
    max_checks: int = Field(default=5, ge=1, le=10)
    """Codes that are compared before the verification ends; at most 5 for a transaction."""
    max_sends: int = Field(default=3, ge=1, le=10)
    """Messages of one verification, including the first."""
    resend_delays: tuple[Delay, ...] = Field(default=(30, 60, 120), min_length=1, max_length=10)
    """Seconds to wait before the second, third … message; the last one repeats."""
    resend: Resend = Resend.SAME_CODE
    """Which code a further message carries: ``same_code`` or ``new_code``."""
    channels: tuple[Channel, ...] = Field(default=(Channel.SMS, Channel.VOICE), min_length=1, max_length=len(Channel))
    """Channels that callers may choose; the first is the default."""
    fallback: bool = True
    """Send the same code by the next of the channels when one does not reach the number."""
    acr: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[!-~]+$")] | None = None
    """What proofs of this purpose claim as ``acr``, such as a level that your auditors agreed to; default: nothing."""
    factors: tuple[FactorKind, ...] = Field(default=(FactorKind.MESSAGE,), min_length=1, max_length=2)
    """What confirms: ``message``, ``totp`` (an authenticator app), or both. Where the app is first, nothing is sent to
    a user who has one until a message is asked for."""
    recovery: bool = False
    """Whether a recovery code confirms too."""
    after: tuple[Name, ...] = ()
    """Step-up: the same user has to have approved one of these purposes before, which a proof shows; each proof is
    good for one start."""
    after_max_age: int = Field(default=600, ge=1, le=86400)
    """Seconds that such an approval is good for."""
    linked_elsewhere: bool = False
    """Amount and payee are bound to the approval by other means (PSD2 RTS, article 5). Without that no app and no
    recovery code confirms a transaction: they are no function of it."""

    @field_validator("channels", "factors")
    @classmethod
    def _names_each_once(cls, named: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(named)) < len(named):
            raise ValueError("names one twice")
        return named

    @model_validator(mode="after")
    def _keeps_transactions_strict(self) -> "PurposeSettings":
        if self.kind is PurposeKind.TRANSACTION and self.max_checks > MAX_TRANSACTION_CHECKS:
            raise ValueError(f"max_checks is at most {MAX_TRANSACTION_CHECKS} for a transaction")
        mute = [channel for channel in self.channels if not channel.traits.shows_words]
        if self.kind is PurposeKind.TRANSACTION and mute:
            raise ValueError(f"{mute[0]} shows a code only: nobody would see amount and payee of a transaction")
        others = self.recovery or FactorKind.TOTP in self.factors
        if self.kind is PurposeKind.TRANSACTION and others and not self.linked_elsewhere:
            raise ValueError("an app or a recovery code says nothing of amount and payee: it needs linked_elsewhere")
        return self

    def as_purpose(self, name: str) -> Purpose:
        """Return the purpose under its name."""
        return Purpose(name=name, **{member: value for member, value in self if member != "linked_elsewhere"})


Steps = Annotated[int, Field(ge=0, le=MAX_SKEW)]


class ApplicationSection(Section):
    """What an application may do, whether it is configured here or kept in the ledger."""

    name: Brand | None = None
    """Brand that messages show; default: the name of the section."""
    purposes: tuple[Name, ...] = Field(min_length=1)
    """Purposes that it may use."""
    countries: tuple[Country, ...] = Field(min_length=1)
    """Countries to which it may send; ``["*"]``, in development only: all countries."""
    region: CountryCode | None = None
    """Country whose national spelling of numbers is understood."""
    home: CountryCode | None = None
    """Country that gets most of its traffic, and that the rules against fraud never close altogether; default:
    ``region``, or the only country."""
    spend: SpendSettings = SpendSettings()
    """Ceilings in money."""
    locale: Locale = "en"
    """Language of messages for a start without a locale."""
    client_ip: ClientIpSource = ClientIpSource.REQUIRED
    """Source of the end user's address: ``required`` (in the request), ``connection`` (else the peer), ``none``."""
    origin: Annotated[str, AfterValidator(_origin)] | None = None
    """Host on the last line of a message, which binds the code to a web site (WebOTP)."""
    app_hash: Annotated[str, AfterValidator(_app_hash)] | None = None
    """Hash of its Android app on the last line of a message, for the SMS Retriever."""
    consent: ConsentMode = ConsentMode.RECORDED
    """``required``: a start needs a consent; ``recorded``: consents are kept, and a withdrawal stops messages; ``off``:
    no consents are kept."""
    payees: tuple[Payee, ...] = ()
    """Names of payees that are allowed although they look like a domain name."""
    totp_skew: tuple[Steps, ...] = Field(default=astuple(TotpSkew()), min_length=2, max_length=2)
    """Codes of an authenticator app that are right beside the present one: how many before it, and after it."""
    human_check: Name = NO_HUMAN_CHECK
    """Whether it can ask an end user for a human check, before unknown numbers are refused: ``none``; ``assertion``: it
    checks by itself, and says so in the start; or the name of a section of ``human_checks``, which verifies a token."""

    proofs: bool = False
    """Whether an approval comes with a signed proof, which others check without asking this service (section
    ``proofs``)."""
    browser_origins: Annotated[tuple[BrowserOrigin, ...], Field(max_length=50)] = ()
    """Origins of web pages that may use its client tokens, such as ``https://shop.example``."""
    page_return_urls: tuple[ReturnUrl, ...] = Field(default=(), max_length=20)
    """Where people may go back to from a hosted page, each as a start names it, without its query; none: no pages.
    ``https://``, in development ``http://localhost`` too. Needs ``http.public_url``."""
    page_color: Annotated[str, AfterValidator(_page_color)] = f"#{DEFAULT_COLOR}"
    """Colour of its pages, such as ``#0a6e4f``: dark enough to write on in white."""
    dialects: tuple[Name, ...] = ()
    """Other forms of the API that it may call: ``twilio``, with the libraries of Twilio Verify, below ``/twilio``."""

    @property
    def plain_origins(self) -> tuple[str, ...]:
        """Origins that are for development only."""
        return tuple(origin for origin in self.browser_origins if origin.startswith("http:"))

    @property
    def asks(self) -> bool:
        """Whether it can ask."""
        return self.human_check != NO_HUMAN_CHECK

    @model_validator(mode="after")
    def _brand_is_no_strangers_link(self) -> Self:
        for link in links_in(self.name or ""):
            if not is_own_link(link, self.origin):
                raise ValueError("name holds a link or a domain name; in messages only that of origin may stand")
        return self

    def as_application(self, name: str) -> Application:
        """Return the application under its name."""
        return Application(
            name=name,
            brand=self.name or name,
            purposes=frozenset(self.purposes),
            countries=None if ALL_COUNTRIES in self.countries else frozenset(self.countries),
            region=self.region,
            home=self.home or self.region or self._only_country(),
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

    def _only_country(self) -> str | None:
        (first, *others) = self.countries
        return first if not others and first != ALL_COUNTRIES else None


class ApplicationSettings(ApplicationSection):
    """One caller of the API, in the configuration."""

    keys: tuple[KeyHash, ...] = ()
    """Hashes of its API keys (``otp-service key new``): two during a rotation, none to revoke access."""


class RouteSettings(Section):
    """Gateways for the messages that match. A condition that is left out matches all; the first match decides."""

    gateways: tuple[Name, ...] = Field(min_length=1)
    """Names of gateways, the preferred one first."""
    countries: tuple[CountryCode, ...] = ()
    purposes: tuple[Name, ...] = ()
    channels: tuple[Channel, ...] = ()

    @property
    def route(self) -> Route:
        """The route as the domain knows it."""
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


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise ValueError("is the beginning of a number in international form, + and up to 15 digits")
    return text


def _whole_number(text: str) -> str:
    try:
        e164 = parse_destination(text, None, ANY_TYPE).e164
    except OtpServiceError:
        e164 = ""
    if e164 != text:
        raise ValueError("is no whole number in international form, such as +923001234567")
    return text


RuleId = Annotated[str, AfterValidator(_rule)]
WholeNumber = Annotated[str, AfterValidator(_whole_number)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Growth = Annotated[tuple[Annotated[float, Field(ge=0, le=100)], ...], Field(min_length=1, max_length=10)]
Wait = Annotated[int, Field(ge=0, le=_DAY)]


class DestinationSettings(Section):
    """Numbers that may receive codes. Which countries may is a setting of each application."""

    types: tuple[NumberType, ...] = Field(default=(NumberType.MOBILE, NumberType.FIXED_LINE_OR_MOBILE), min_length=1)
    """Types of numbers that receive codes, as libphonenumber names them."""
    denied: tuple[Prefix, ...] = ()
    """Prefixes of numbers that receive no codes."""
    allowed: tuple[Prefix, ...] = ()
    """Exceptions from ``denied``: of two prefixes that match, the longer one decides."""
    safe: tuple[WholeNumber, ...] = Field(default=(), repr=False)
    """Whole numbers, such as your test handsets, that the rules against fraud let pass; their own limits hold."""


class NumberSettings(Section):
    """Limits on messages to one number and on guesses for it, beside ``limits.number`` and ``limits.failed_checks``."""

    reserved: float = Field(default=0.4, ge=0, lt=1)
    """Share of the number's messages and guesses that is reserved for known contexts; those of an application have so
    many messages whatever others used up."""
    cooldown: tuple[Wait, ...] = Field(default=(30, 60, 120), max_length=20)
    """Seconds to wait after the first, second … message in a row without an approval; the last one repeats."""
    guess_waits: tuple[Wait, ...] = Field(default=(0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600), max_length=50)
    """Seconds to wait after the first, second … wrong code in a row; the last one repeats."""
    lock_after: int = Field(default=100, ge=10, le=100)
    """Wrong codes in a row that lock a number in one application (NIST SP 800-63B-4, 3.2.2: at most 100)."""
    lock_days: int = Field(default=30, ge=1, le=90)
    """Days until the lock ends, unless an operator lifts it."""
    known_days: int = Field(default=90, ge=1, le=365)
    """Days for which a number, or a context of it, is known after an approval."""
    known_messages: int = Field(default=3, ge=1, le=20)
    """Messages in a row that nobody approved, after which a known number is a stranger to the rules on fraud, but for
    its known contexts."""
    known_messages_abroad: int = Field(default=2, ge=1, le=20)
    """The same for numbers that are not of the application's home."""
    contexts: int = Field(default=8, ge=1, le=50)
    """Known contexts of one number in an application; a new one replaces the oldest."""


class AddressSettings(Section):
    """Unapproved starts that one end-user address may make; each approval from it allows one more."""

    unapproved: Notations = ("40/day",)
    """Starts from one address."""
    numbers: Notations = ("20/day",)
    """Different numbers for one address."""
    countries: Notations = ("3/day",)
    """Different countries for one address."""
    network: Notations = ("200/day",)
    """Starts from one IPv6 /48."""
    provider: Notations = ("2000/day",)
    """Starts from one IPv6 /32."""


class BlockSettings(Section):
    """Unapproved messages into one block of 10,000 numbers, and how many more each approval in it allows."""

    unapproved: Notations = ("4/hour", "4/2 days")
    """Messages into one block, all applications together."""
    growth: Growth = (1.0, 1.5)
    """Further messages for each approval, by limit of ``unapproved``; the last one repeats."""


class CountryGuardSettings(Section):
    """Unapproved messages of an application into one country, and how many more each approval in it allows."""

    unapproved: Notations = ("20/day",)
    """Messages into a country other than the application's ``home``."""
    home: Notations = ("1000/day",)
    """Messages into the application's ``home``."""
    growth: Growth = (2.0,)
    """Further messages for each approval, by limit; the last one repeats."""


class ConversionSettings(Section):
    """When a block or country is closed because hardly anybody types the codes in."""

    sends: int = Field(default=20, ge=5, le=100_000)
    """Verifications below which the rate is not judged."""
    rate: float = Field(default=0.15, gt=0, lt=1)
    """Share of approved verifications below which a block or country is closed."""
    closed_for: int = Field(default=900, ge=60, le=_DAY)
    """Seconds that it stays closed at first; the time doubles each time that the rate is still too low."""
    max_closed_for: int = Field(default=_DAY, ge=60, le=7 * _DAY)
    """Seconds that it stays closed at most."""
    trickle: Annotated[str, Field(max_length=64)] = "10/10 minutes"
    """Messages that pass after that time, until the rate can be judged again."""
    home_sends: int = Field(default=200, ge=5, le=100_000)
    """As ``sends``, for the application's ``home``, which fraud in a few blocks must not close to new numbers."""
    home: Annotated[str, Field(max_length=64)] = "100/day"
    """Messages that pass into the application's ``home`` while it is closed, and one more for every four approvals."""
    home_block: Annotated[str, Field(max_length=64)] = "2/2 days"
    """Messages that pass into one block of ``home`` while it is closed."""


class FailureSettings(Section):
    """When to raise the alarm because most codes that an application checks are wrong."""

    wrong: int = Field(default=100, ge=10, le=1_000_000)
    """Wrong codes in a window below which the share is not judged."""
    share: float = Field(default=0.5, gt=0, lt=1)
    """Share of wrong codes above which the alarm is raised."""
    window: int = Field(default=600, ge=60, le=_DAY)
    """Length of a window in seconds."""


class GuardSettings(Section):
    """The rules against abuse. The mode of each is ``enforce``, ``record_only`` or ``off``."""

    modes: dict[RuleId, Mode] = Field(default_factory=dict)
    """Modes of rules by id, where they are not the default."""
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
    """Number of decisions (refusals, and those of ``record_only``) that are kept at most, as long as events are."""

    @model_validator(mode="before")
    @classmethod
    def _reads_dotted_ids(cls, given: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
        """Accept ``number.sends = "off"`` under ``[guard.modes]``, which TOML reads as a table in a table."""
        modes = given.get("modes") if isinstance(given, dict) else None
        if not isinstance(modes, dict):
            return given
        flat: dict[str, Any] = {}
        for name, mode in modes.items():
            if isinstance(mode, dict):
                flat.update({f"{name}.{rule}": value for rule, value in mode.items()})
            else:
                flat[name] = mode
        return {**given, "modes": flat}

    def destination_rules(self) -> DestinationRules:
        """Return the rules about destinations, which count nothing."""
        own = self.destinations
        return DestinationRules(frozenset(own.types), own.denied, own.allowed, frozenset(own.safe), self.modes)

    def mode(self, rule: str) -> Mode:
        """Return the mode of a rule."""
        return self.modes.get(rule, GUARD_RULES[rule].mode)


ANY: Final = "any"
Category = Literal["transactional", "promotional"]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=64)]
TemplateId = Annotated[str, StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9-]+/[a-z0-9_-]+/[a-z]+$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class CountrySettings(Section):
    """What a country requires of messages to it; by default nothing."""

    consent: Literal["required", "any"] = ANY
    """``required``: every application that sends there needs a consent for each number."""
    senders: Literal["registered", "any"] = ANY
    """``registered``: a text message goes out only under a sender that ``senders`` registers for the country."""
    category: Category | Literal["any"] = ANY
    """Category that such a sender must have."""
    reserved_sender_ids: tuple[str, ...] = ()
    """Words that no sender's name may be."""
    templates: Literal["approved", "any"] = ANY
    """``approved``: a text message goes out only if ``approvals`` has its template, word by word."""
    languages: tuple[Locale, ...] = ()
    """Languages that messages may have; the first is the default."""
    sim_boxes: Literal["refused", "any"] = ANY
    """``refused``: in production, no gateway with ``sim_box`` carries messages there."""

    def rules(self, *, production: bool) -> CountryRules:
        """Return the rules as the domain knows them; ``sim_boxes`` holds in production only."""
        return CountryRules(
            registered_senders=self.senders == "registered",
            category=None if self.category == ANY else self.category,
            approved_templates=self.templates == "approved",
            sim_boxes_refused=production and self.sim_boxes == "refused",
            languages=self.languages,
        )


class RegistrationSettings(Section):
    """The members that a sender and an approval share."""

    country: CountryCode
    reference: Reference
    """Number or name of the registration, as the registrar gave it."""
    valid_until: date | None = None
    """Last day of the registration; ``doctor`` warns 30 days before."""


class SenderSettings(RegistrationSettings):
    """One registered sender id, which handsets show as the sender."""

    sender_id: Annotated[str, StringConstraints(min_length=1, max_length=20)]
    """At most 11 letters, digits and blanks."""
    category: Category = "transactional"
    applications: tuple[Name, ...] = ()
    """Applications that send under it; empty: all."""

    def as_sender(self, name: str) -> Sender:
        """Return the sender under its name."""
        return Sender(name=name, **dict(self) | {"applications": frozenset(self.applications)})


class ApprovalSettings(RegistrationSettings):
    """One template that a country has approved, word by word."""

    template: TemplateId
    """Id of the template, such as ``en/possession/sms``."""
    sha256: Digest
    """Digest of its text; ``otp-service messages templates`` prints both."""

    def as_approval(self, name: str) -> Approval:
        """Return the approval under its name."""
        return Approval(name=name, **dict(self))


Countries = dict[CountryCode, CountrySettings]
Senders = dict[Name, SenderSettings]
Approvals = dict[Name, ApprovalSettings]
ExtraKeywords = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEYWORD_LENGTH)], ...], Field(max_length=100)
]


class InboundSettings(Section):
    """Keywords in messages from people, beside the built-in ones, in upper or lower case; and the replies to them."""

    stop: ExtraKeywords = ()
    """Words for no more messages from the application that last wrote to the number."""
    start: ExtraKeywords = ()
    """Words for messages again."""
    help: ExtraKeywords = ()
    """Words that ask who writes, and how to stop the messages."""
    replies: tuple[Literal["stop", "help"], ...] = ("stop", "help")
    """Meanings that get a reply, once a day for each number; none where the provider replies itself."""
    region: CountryCode | None = None
    """Country of senders in national spelling, for providers that pass numbers on so."""
    inbox: bool = True
    """Whether messages that match no keyword wait, sealed, for support to read them: 5 days at most."""

    @model_validator(mode="after")
    def _words_have_one_meaning(self) -> Self:
        self._keyword_matcher()
        return self

    @property
    def rules(self) -> InboundRules:
        """The rules by which messages from people are read and answered."""
        return InboundRules(self._keyword_matcher(), self.region, frozenset(map(Meaning, self.replies)), self.inbox)

    def _keyword_matcher(self) -> KeywordMatcher:
        return _matcher_with(self.stop, self.start, self.help)


@lru_cache(maxsize=8)
def _matcher_with(stop: tuple[str, ...], start: tuple[str, ...], help_: tuple[str, ...]) -> KeywordMatcher:
    """Return a matcher of the built-in keywords and further ones; cached, because it is slow to build."""
    built_in = {meaning: languages.values() for meaning, languages in default_keywords().items()}
    return KeywordMatcher(built_in, {Meaning.STOP: stop, Meaning.START: start, Meaning.HELP: help_})


@cache
def default_keywords() -> dict[Meaning, dict[str, Keywords]]:
    """Return the built-in keywords by meaning and language."""
    found = tomllib.loads((files(__package__) / "inbound_keywords.toml").read_text(encoding="utf-8"))
    return {
        Meaning(meaning): {language: _keywords(table) for language, table in languages.items()}
        for meaning, languages in found.items()
    }


def _keywords(table: dict[str, Any]) -> Keywords:
    """Return the keywords of a language; each pair of a noun and a verb is a firm one."""
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
            raise ValueError("is a list of networks such as 10.20.0.0/16 or fd00:1::/32") from None
    return texts


def _nat64_prefixes(texts: tuple[str, ...]) -> tuple[str, ...]:
    found = [ip_network(text) for text in _networks(texts)]
    if any(not isinstance(one, IPv6Network) or one.prefixlen != _NAT64_PREFIX for one in found):
        raise ValueError("is a list of prefixes such as 64:ff9b::/96")
    return texts


class WebhookSettings(Section):
    """Webhooks to applications. They go to the public internet by HTTPS, and nowhere else."""

    timeout: float = Field(default=15.0, ge=1, le=30)
    """Seconds of one call, looking up the host's name included."""
    concurrency: int = Field(default=32, ge=4, le=256)
    """Calls that one worker process makes at the same time: at most half of them for one application, and half for all
    slow endpoints. Calls that become slow on their way go on beside these."""
    per_endpoint: int = Field(default=4, ge=1, le=64)
    """Calls of one endpoint at the same time, by all workers together; half of them while it is slow, one while it
    fails."""
    max_endpoints: int = Field(default=10, ge=1, le=100)
    """Endpoints of one application."""
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(default=(443, 8443), min_length=1)
    """Ports of the internet that webhooks may go to."""
    networks: Annotated[tuple[str, ...], AfterValidator(_networks)] = ()
    """Networks of your own that webhooks may go to besides, at any port, by HTTP too. Whoever has an API key of scope
    ``webhooks`` reaches what is there."""
    nat64: Annotated[tuple[str, ...], AfterValidator(_nat64_prefixes)] = ()
    """Prefixes (/96) by which your hosts reach IPv4 through NAT64: what is behind one is judged by its IPv4 address."""

    @property
    def rules(self) -> WebhookRules:
        """The same as webhooks keep them."""
        nat64 = tuple(map(IPv6Network, self.nat64))
        targets = TargetRules(frozenset(self.ports), tuple(map(ip_network, self.networks)), nat64)
        return WebhookRules(targets, self.timeout, self.max_endpoints)


def _words(value: object) -> object:
    return value.split() if isinstance(value, str) else value


SecretUrls = Annotated[tuple[SecretStr, ...], BeforeValidator(_words)]
"""Addresses; in a file of their own (``…_FILE``) one a line."""


class LedgerSettings(Section):
    """The database for data that must not be lost. Starts and checks of codes never query it."""

    url: SecretStr = SecretStr("sqlite:////var/lib/otp-service/ledger.db")
    """``sqlite:///PATH``, for one host, or ``postgresql://…``, which may hold user, password and TLS parameters."""
    reading_url: SecretStr | None = None
    """A streaming replica of PostgreSQL that stories of numbers, figures, lists, reports and exports are read from."""
    reading_lag: float = Field(default=0.0, ge=0, le=3600)
    """Seconds by which figures, lists and reports may be late. What a replica lacks for longer is asked of ``url``."""
    traffic_urls: SecretUrls = ()
    """Databases for verifications, their events and figures, each for its part of ``keys.buckets``;
    all else is in ``url``. Their order and number say which bucket is where. Empty: all is in ``url``."""
    former_traffic_urls: SecretUrls = ()
    """Those that had a part before, and are still read; ``url`` is always."""
    timeout: float = Field(default=5.0, gt=0, le=60)
    """Seconds to wait for a connection, a lock or an answer."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which the database, its replicas and backups are, for ``residency``."""
    upgrade: bool = True
    """Whether a process makes the tables when it starts."""

    rows: Literal["events", "verifications"] = "events"
    """What has a row: each event; or each verification, from when it is over, with what happened to it. Then there are
    no webhooks, and one worker records what happens to a bucket's numbers."""
    rebuild_lost_mirror: bool | None = None
    """Whether an empty Redis is filled from the ledger without asking an operator. A ledger that was restored from an
    older copy is then not noticed. ``None``: in development only."""

    @field_validator("url", "reading_url")
    @classmethod
    def _is_an_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url:
            check_ledger_url(url.get_secret_value())
        return url

    @field_validator("traffic_urls", "former_traffic_urls")
    @classmethod
    def _are_addresses(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for url in urls:
            check_ledger_url(url.get_secret_value())
        if len({place_of(url.get_secret_value()) for url in urls}) < len(urls):
            raise ValueError("names a database twice.")
        return urls

    @model_validator(mode="after")
    def _are_others(self) -> Self:
        if place_of(self.url.get_secret_value()) in {place_of(url.get_secret_value()) for url in self.all_traffic_urls}:
            raise ValueError("ledger.traffic_urls names the database of ledger.url: it is read by itself.")
        if self.reading_url and self.all_traffic_urls:
            raise ValueError("ledger.reading_url is a replica of one ledger: it does not go with ledger.traffic_urls.")
        return self

    @model_validator(mode="after")
    def _can_have_a_replica(self) -> Self:
        urls = [url.get_secret_value() for url in (self.url, self.reading_url) if url]
        if self.reading_url and any(url.startswith("sqlite") for url in urls):
            raise ValueError("ledger.reading_url needs PostgreSQL there and in ledger.url: SQLite has no replicas.")
        return self

    @property
    def folds(self) -> bool:
        """Whether a row of a verification holds its events."""
        return self.rows == "verifications"

    @property
    def all_traffic_urls(self) -> tuple[SecretStr, ...]:
        """Those of present and former ledgers of traffic."""
        return self.traffic_urls + self.former_traffic_urls

    @property
    def addresses(self) -> Mapping[str, SecretStr]:
        """All addresses, by the settings that they are of."""
        found = {"ledger.url": self.url}
        if self.reading_url:
            found["ledger.reading_url"] = self.reading_url
        for name in ("traffic_urls", "former_traffic_urls"):
            found |= {f"ledger.{name}.{place}": url for place, url in enumerate(getattr(self, name))}
        return found

    @property
    def shown_url(self) -> str:
        """The address without user, password and parameters."""
        return shown_ledger_url(self.url.get_secret_value())

    @property
    def shown_urls(self) -> str:
        """The addresses of all ledgers, shown so."""
        every = (self.url, *self.all_traffic_urls)
        return ", ".join(dict.fromkeys(shown_ledger_url(url.get_secret_value()) for url in every))


_SYSLOG: Final = re.compile(r"syslog:(/\S+|//[A-Za-z0-9.-]+(:[0-9]{1,5})?)")
_FORMS = "is not file:/PATH, syslog:/dev/log or syslog://HOST:PORT"


class AuditSettings(Section):
    """The audit chain. Only an exported head shows that later somebody cut off the last entries."""

    export: str = ""
    """Where signed heads go: ``file:/PATH``, ``syslog:/dev/log`` or ``syslog://HOST:PORT`` (UDP); empty: nowhere."""
    every: int = Field(default=3600, ge=60, le=86_400)
    """Seconds between two heads."""

    @field_validator("export")
    @classmethod
    def _is_a_place(cls, export: str) -> str:
        if not export or _SYSLOG.fullmatch(export):
            return export
        if export.startswith("file:/") and Path(export.removeprefix("file:")).name:
            return export
        raise ValueError(_FORMS)


Days = Annotated[int, Field(ge=1, le=7300)]
ProofDays = Annotated[int, Field(ge=90, le=7300)]
"""At least 90, as long as ``streams.retention_days`` may be: an event that is recorded late still finds later rows."""


class RetentionSettings(Section):
    """Days for which the ledger keeps each class of data; workers delete older rows."""

    # Descriptions, not docstrings, because docs/data.md quotes them: pydantic reads docstrings from the source.
    traffic: Days = Field(
        400,
        description="Verifications and their history: a provider's bill is disputed within the year.",
    )
    stats: Days = Field(
        1095,
        description="Hourly statistics, which hold nothing of a person: three years, so that a month is compared with "
        "those of the years before.",
    )
    consents: ProofDays = Field(
        1095,
        description="Consents, after a later one replaced them: three years, in which most claims must be brought. "
        "The latest one stays.",
    )
    suppressions: ProofDays = Field(
        1095,
        description="Suppressions, after they were lifted or ended: proof that they were respected, kept as long as "
        "that of a consent.",
    )
    inbound: Annotated[int, Field(ge=7, le=7300)] = Field(
        90,
        description="Messages from people. The suppression that a message made records its meaning. "
        "Gateways repeat messages for days.",
    )
    webhooks: Annotated[int, Field(ge=7, le=7300)] = Field(
        30,
        description="Webhooks, and what became of them: a receiver that lost some asks for them again. "
        "They are tried for three days.",
    )
    factors: Days = Field(
        400,
        description="Authenticator apps and recovery codes, after they were removed, used or replaced, and what was "
        "recorded of that. Secrets and labels go at once.",
    )
    access: Days = Field(
        400,
        description="API keys, after they were revoked or ended, and endpoints of webhooks, after they were removed: "
        "as long as the traffic that was sent with them.",
    )
    accountability: ProofDays = Field(
        1095,
        description="Erasures on request, automatic deletions and actions of operators: proof that they took place.",
    )
    audit: ProofDays = Field(
        3650,
        description="The audit chain, which has digests only: ten years, longer than all data that it proves.",
    )

    @model_validator(mode="after")
    def _the_chain_outlasts_what_it_proves(self) -> Self:
        days = self.model_dump()
        longest = max(days, key=days.__getitem__)
        if days[longest] > self.audit:
            raise ValueError(f"audit is shorter than {longest}: rows would be there whose entries are gone")
        return self

    @property
    def days(self) -> RetentionDays:
        """The days as a purge counts them."""
        return RetentionDays(**dict(self))


class Configured(BaseModel, Generic[Kind, KindSettings]):
    """An entry of ``gateways``, ``policies`` or ``human_checks``: its kind, and the settings of that kind's class."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    kinds: ClassVar[PluginKinds[Any]]
    kind: str
    settings: SerializeAsAny[KindSettings]

    @model_validator(mode="before")
    @classmethod
    def _read(cls, members: Any) -> Any:  # noqa: ANN401 - whatever the file holds
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
        """The class of the kind."""
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
    """Yield the dotted path and the value of every member of a section, also in nested sections and lists.

    ``tables``: also in tables with free names, such as the parameters of a template.
    """
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
