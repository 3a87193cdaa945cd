"""The sections of the settings, as typed models."""

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
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

from otp_service.domain.applications import LOCALE_PATTERN, MAX_LOCALE, Application, ClientIpSource
from otp_service.domain.audit import RetentionDays
from otp_service.domain.consents import ConsentMode
from otp_service.domain.countries import Approval, CountryRules, Sender
from otp_service.domain.guard import DAY, HOUR, RULES, Ceiling, DestinationRules, Limits, LimitScope, Mode, parse_limits
from otp_service.domain.inbound import MAX_KEYWORD_LENGTH, InboundRules, KeywordMatcher, Keywords, Meaning
from otp_service.domain.numbers import NumberType, is_region, parse_destination
from otp_service.domain.payments import MAX_NAME_LENGTH, broken_name_rule
from otp_service.domain.prices import to_micros
from otp_service.domain.routing import BreakerThresholds, Route
from otp_service.domain.templates import is_own_link, links_in
from otp_service.domain.verification import MAX_CODE_LIFE, Channel, Purpose, PurposeKind, Resend
from otp_service.errors import ConfigurationError, OtpServiceError
from otp_service.gateways.base import GATEWAY_KINDS, Gateway, load_gateway_class
from otp_service.gateways.plugins import PluginKinds
from otp_service.gateways.settings import CountryCode, GatewaySettings, checked_country_code
from otp_service.policies.base import POLICY_KINDS, Policy, PolicySettings, load_policy_class
from otp_service.settings.sources import KIND_FAULTS, SettingFault, model_faults, plain_sentence, suggestion
from otp_service.settings.urls import check_ledger_url, check_redis_url, shown_ledger_url

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535)]
PortOrNone = Annotated[int, Field(ge=0, le=65535)]
"""A port; 0 for none."""
Notations = tuple[Annotated[str, Field(max_length=64)], ...]


class Section(BaseModel):
    """A part of the tree: frozen, and every unknown member is an error. Errors never show what was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class RedisSettings(Section):
    """Where the hot state lives. The bounds keep the refusal of a start within 1.5 s when Redis is lost."""

    url: SecretStr = SecretStr("redis://localhost:6379/0")
    """``redis://``, ``rediss://`` (TLS) or ``unix://``; may hold a user and a password, and parameters of TLS."""
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

    @property
    def shown_url(self) -> str:
        """The address without user, password and parameters."""
        parts = urlsplit(self.url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class KeysSettings(Section):
    """The installation's keys. Both come from the environment, never from the configuration file."""

    root: SecretStr | None = None
    """``OTP_SERVICE_ROOT_KEYS``: ``id:base64 …``, the first active, the others still accepted."""
    pseudonym: SecretStr | None = None
    """``OTP_SERVICE_PSEUDONYM_KEY``: base64, the same for the life of the installation."""
    bucket_bits: int = Field(default=0, ge=0, le=8)
    """Bits of a number's pseudonym that choose its Redis Cluster slot; 0 on one server."""


class HttpSettings(Section):
    """The HTTP service."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8080
    """Port to listen on."""
    processes: int = Field(default=2, ge=1, le=256)
    """Server processes; about one for each core."""
    threads: int = Field(default=2, ge=1, le=64)
    """Threads of each process; two serve best."""
    trusted_proxies: int = Field(default=0, ge=0, le=10)
    """Proxies before the service: the peer is taken so many hops from the right of ``X-Forwarded-For``."""
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#@]+$")
    """Where gateways reach this service for receipts; without it there are no receipts."""
    shutdown_delay: float = Field(default=0.0, ge=0, le=300)
    """Seconds that a server which is asked to end goes on to serve, its probes saying no, for proxies to notice."""
    metrics_port: PortOrNone = 9090
    """Port of ``/metrics``; 0 for none."""
    metrics_on_same_port: bool = False
    """Serve ``/metrics`` on the service's own port instead, to everybody who reaches it."""

    @field_validator("public_url")
    @classmethod
    def _ends_without_slash(cls, url: str | None) -> str | None:
        return url.rstrip("/") if url else url


class LimitsSettings(Section):
    """Limits in the notation of the ``limits`` library; one window may stand in a list once."""

    number: Notations = ("5/10 minutes", "10/day")
    """Messages to one number, all applications together."""
    ip: Notations = ("100/10 minutes",)
    """Starts from one end-user address (IPv4) or /64 (IPv6)."""
    application: Notations = ("6000/minute",)
    """Starts and resends of one application."""
    failed_checks: Notations = ("10/day",)
    """Wrong codes for one number, per application, across verifications."""

    @cached_property
    def parsed(self) -> Limits:
        """The limits as the guard counts them; raises `ConfigurationError` for a bad notation."""
        return Limits(**{scope.value: parse_limits(scope, getattr(self, scope)) for scope in LimitScope})


class WorkerSettings(Section):
    """The delivery worker."""

    concurrency: int = Field(default=64, ge=1, le=1024)
    """Messages that one worker process hands over at the same time."""
    claim_margin: Seconds = 5.0
    """Seconds beyond the slowest gateway's timeout after which a silent worker's job is claimed by another."""
    backoff: tuple[Annotated[float, Field(ge=0.1, le=600)], ...] = Field(
        default=(1.0, 5.0, 15.0, 30.0), min_length=1, max_length=20
    )
    """Seconds to wait after the first, second … failed round of gateways; the last one repeats.

    Each lasts up to a quarter longer, by chance, and never longer than half of what is left of the code's life.
    """
    max_ambiguous: int = Field(default=1, ge=0, le=20)
    """How often a message goes on after a call that may have been sent all the same, such as a time-out."""
    metrics_port: PortOrNone = 9091
    """Port of the worker's ``/metrics``; 0 for none."""


class BreakerSettings(Section):
    """When a gateway is left alone. A call is bad when the gateway fails, or answers slowly (its ``slow``)."""

    bad_in_a_row: int = Field(default=5, ge=1, le=1000)
    """Bad calls in a row that open the breaker."""
    bad_percent: int = Field(default=50, ge=1, le=100)
    """Share of bad calls of a window that opens it."""
    min_calls: int = Field(default=20, ge=1, le=100_000)
    """Calls of a window from which on the share counts."""
    window: Seconds = 30.0
    """Seconds that a window lasts."""
    open_for: float = Field(default=30.0, ge=0.1, le=86_400)
    """Seconds that an open breaker blocks at first; the time doubles with each probe that fails."""
    max_open_for: float = Field(default=1800.0, ge=0.1, le=86_400)
    """Seconds that it blocks at most."""
    throttled_for: float = Field(default=1.0, ge=0.01, le=3600)
    """Seconds that a gateway is left alone that says it is asked too fast; the time doubles while it says so."""
    max_throttled_for: float = Field(default=30.0, ge=0.01, le=3600)
    """Seconds that it is left alone at most, unless it asks for longer itself."""

    @property
    def thresholds(self) -> BreakerThresholds:
        """The same in milliseconds."""
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
    """The outbox and the event stream, trimmed at each write."""

    retention_days: int = Field(default=7, ge=1, le=90)
    """Days for which waiting messages, events and decisions are kept."""
    max_events: int = Field(default=1_000_000, ge=1000)
    """Events kept at most, approximately."""
    max_outbox: int = Field(default=100_000, ge=10)
    """Messages waiting of one application, country and channel; a start beyond that is refused as ``backlog-full``."""


class MessagesSettings(Section):
    """The words of messages."""

    directory: str | None = None
    """Folder with files of your own, laid over ours; another language is one file more."""


class LoggingSettings(Section):
    """Logs, written to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "console"] = "json"
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which logs and metrics are kept, for ``residency``."""


class TelemetrySettings(Section):
    """Traces, with the extra ``otel``; where they go, and how many, say OpenTelemetry's own variables (``OTEL_…``)."""

    traces: Literal["otlp"] | None = None
    """``otlp``: over HTTP to a collector."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which traces are kept, for ``residency``."""


NO_CEILING = "none"
"""Where a ceiling may stand: there is none, and that is known."""
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
    """What may be spent in an hour and in a day, calendar intervals in UTC; no ceiling where nothing stands."""

    hour: Amount | None = None
    """In ``guard.currency``, such as ``"500.00"``; ``"none"`` for none."""
    day: Amount | None = None
    """In ``guard.currency``."""

    @property
    def is_set(self) -> bool:
        """Whether there is any ceiling."""
        return any(one not in {None, NO_CEILING} for one in (self.hour, self.day))

    @property
    def is_decided(self) -> bool:
        """Whether there is any ceiling, or is said to be none."""
        return self.hour is not None or self.day is not None

    @property
    def is_waived(self) -> bool:
        """Whether it is said that there is no ceiling."""
        return NO_CEILING in {self.hour, self.day}

    def ceilings(self, rule: str, part: str, mode: Mode) -> tuple[Ceiling, ...]:
        """Return the ceilings; none when the rule is off."""
        if mode is Mode.OFF:
            return ()
        return tuple(
            Ceiling(rule, part, name, length, to_micros(amount), record_only=mode is Mode.RECORD_ONLY)
            for name, length in _INTERVALS.items()
            if (amount := getattr(self, name)) not in {None, NO_CEILING}
        )


class SpendSettings(CeilingSettings):
    """What an application may spend, altogether and for a country."""

    countries: dict[Annotated[str, AfterValidator(_country)], CeilingSettings] = Field(default_factory=dict)
    """By country; ``"*"`` for each that is not named."""

    @property
    def is_set(self) -> bool:
        """Whether there is any ceiling."""
        return super().is_set or any(one.is_set for one in self.countries.values())

    def of_country(self, country: str) -> CeilingSettings:
        """Return what is said of a country by itself."""
        return self.countries.get(country) or self.countries.get("*") or CeilingSettings()

    def is_decided_for(self, countries: Iterable[str]) -> bool:
        """Tell whether there is a ceiling for all countries, or is said to be none."""
        return self.is_decided or all(self.of_country(country).is_decided for country in countries)


ALL_COUNTRIES = "*"
MAX_TRANSACTION_CHECKS = 5
"""Codes compared for a transaction at most (PSD2 RTS, article 4(3)(b))."""
_NAME = re.compile(r"[a-z0-9_-]{1,32}")
_KEY_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_APP_HASH = re.compile(r"[A-Za-z0-9+/]{11}")
_ORIGIN_HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+"
)


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


def _app_hash(text: str) -> str:
    if not _APP_HASH.fullmatch(text):
        raise ValueError("is the hash of an Android app for the SMS Retriever: 11 characters of base64")
    return text


Name = Annotated[str, AfterValidator(_name)]
Country = Annotated[str, AfterValidator(_country_or_all)]
KeyHash = Annotated[str, AfterValidator(_key_hash)]
Locale = Annotated[str, StringConstraints(max_length=MAX_LOCALE, pattern=LOCALE_PATTERN)]
Brand = Annotated[str, AfterValidator(_brand)]
Payee = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH)]
Delay = Annotated[int, Field(ge=0, le=600)]


class PurposeSettings(Section):
    """The rules of one purpose; a verification keeps those it was started with."""

    kind: PurposeKind = PurposeKind.POSSESSION
    """``possession``, or ``transaction``: the code is a function of an amount and a payee."""
    code_length: int = Field(default=6, ge=6, le=8)
    """Digits."""
    ttl: int = Field(default=300, ge=1, le=MAX_CODE_LIFE)
    """Life of a code in seconds (NIST SP 800-63B-4, 3.1.3.2: at most 10 minutes)."""
    max_checks: int = Field(default=5, ge=1, le=10)
    """Codes compared before the verification ends; at most 5 for a transaction."""
    max_sends: int = Field(default=3, ge=1, le=10)
    """Messages, the first included."""
    resend_delays: tuple[Delay, ...] = Field(default=(30, 60, 120), min_length=1, max_length=10)
    """Seconds to wait before the second, third … message; the last one repeats."""
    resend: Resend = Resend.SAME_CODE
    """Which code a further message carries: ``same_code`` or ``new_code``."""
    channels: tuple[Channel, ...] = Field(default=(Channel.SMS, Channel.VOICE), min_length=1, max_length=3)
    """What is offered; the first is the default."""
    fallback: bool = True
    """Go on to the next of the channels, with the same code, when one does not reach the number."""

    @field_validator("channels")
    @classmethod
    def _names_each_once(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        if len(set(channels)) < len(channels):
            raise ValueError("names a channel twice")
        return channels

    @model_validator(mode="after")
    def _keeps_transactions_strict(self) -> "PurposeSettings":
        if self.kind is PurposeKind.TRANSACTION and self.max_checks > MAX_TRANSACTION_CHECKS:
            raise ValueError(f"max_checks is at most {MAX_TRANSACTION_CHECKS} for a transaction")
        return self

    def as_purpose(self, name: str) -> Purpose:
        """Return the purpose under its name."""
        return Purpose(name=name, **dict(self))


class ApplicationSection(Section):
    """What an application may do, wherever that is kept."""

    name: Brand | None = None
    """The brand that messages show; default: the section's own name."""
    purposes: tuple[Name, ...] = Field(min_length=1)
    """Names of the purposes that it may use."""
    countries: tuple[Country, ...] = Field(min_length=1)
    """Where it sends to; ``["*"]`` for everywhere, in development only."""
    region: CountryCode | None = None
    """Region of numbers in national spelling."""
    home: CountryCode | None = None
    """The country that most of its traffic goes to, which the rules against fraud never close; default: the region, or
    the only country."""
    spend: SpendSettings = SpendSettings()
    """Ceilings in money."""
    locale: Locale = "en"
    """Language of messages when a start names none."""
    client_ip: ClientIpSource = ClientIpSource.REQUIRED
    """``required``, ``connection`` or ``none``: where an end user's address comes from."""
    origin: Annotated[str, AfterValidator(_origin)] | None = None
    """Host of the origin-bound last line of a message (WebOTP)."""
    app_hash: Annotated[str, AfterValidator(_app_hash)] | None = None
    """Hash of its Android app, for the SMS Retriever; on the last line of a message."""
    consent: ConsentMode = ConsentMode.RECORDED
    """``required``: no start without a consent; ``recorded``: what is given is kept, and a withdrawal counts; ``off``:
    none is kept."""
    payees: tuple[Payee, ...] = ()
    """Payees allowed although they look like a domain name."""

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
        )

    def _only_country(self) -> str | None:
        (first, *others) = self.countries
        return first if not others and first != ALL_COUNTRIES else None


class ApplicationSettings(ApplicationSection):
    """One caller of the API, in the configuration."""

    keys: tuple[KeyHash, ...] = ()
    """Hashes of its API keys (``otp-service key new``); several while one replaces another, none to revoke."""


class RouteSettings(Section):
    """Gateways for the messages that match; a condition left out matches all. The first match decides."""

    gateways: tuple[Name, ...] = Field(min_length=1)
    """Names, the preferred one first."""
    countries: tuple[CountryCode, ...] = ()
    purposes: tuple[Name, ...] = ()
    channels: tuple[Channel, ...] = ()

    @property
    def route(self) -> Route:
        """The route."""
        return Route(
            gateways=self.gateways,
            countries=frozenset(self.countries),
            purposes=frozenset(self.purposes),
            channels=frozenset(map(str, self.channels)),
        )


_PREFIX = re.compile(r"\+[1-9][0-9]{0,14}")
_DAY = 86_400


def _rule(name: str) -> str:
    if name not in RULES:
        raise ValueError(f"is not a rule.{suggestion(name, RULES)} otp-service guard rules lists them")
    return name


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise ValueError("is the beginning of a number in international form, + and up to 15 digits")
    return text


def _whole_number(text: str) -> str:
    try:
        e164 = parse_destination(text, None, tuple(NumberType)).e164
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
    """Where codes go at all; the countries are each application's own."""

    types: tuple[NumberType, ...] = Field(default=(NumberType.MOBILE, NumberType.FIXED_LINE_OR_MOBILE), min_length=1)
    """Types of numbers that receive codes, as libphonenumber names them."""
    denied: tuple[Prefix, ...] = ()
    """Beginnings of numbers that receive none."""
    allowed: tuple[Prefix, ...] = ()
    """Exceptions from what is denied: of two prefixes that fit the longer one decides."""
    safe: tuple[WholeNumber, ...] = Field(default=(), repr=False)
    """Whole numbers that pass the rules against fraud, such as your own test handsets; never their own limits."""


class NumberSettings(Section):
    """What one number may receive and be guessed, beside ``limits.number`` and ``limits.failed_checks``."""

    reserved: float = Field(default=0.4, ge=0, lt=1)
    """Share of its messages and guesses that is kept for contexts that are known; nobody else can use it up."""
    cooldown: tuple[Wait, ...] = Field(default=(30, 60, 120), max_length=20)
    """Seconds to wait after the first, second … message in a row that nobody approved; the last one repeats."""
    guess_waits: tuple[Wait, ...] = Field(default=(0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600), max_length=50)
    """Seconds to wait after the first, second … wrong code in a row; the last one repeats."""
    lock_after: int = Field(default=100, ge=10, le=100)
    """Wrong codes in a row that lock a number in an application (NIST SP 800-63B-4, 3.2.2: at most 100)."""
    lock_days: int = Field(default=30, ge=1, le=90)
    """Days until the lock ends, unless it is lifted."""
    known_days: int = Field(default=90, ge=1, le=365)
    """Days for which an approved number, or context of it, is known."""
    contexts: int = Field(default=8, ge=1, le=50)
    """Contexts that are remembered of a number; a new one takes the place of the oldest."""


class AddressSettings(Section):
    """What may come from one end-user address unapproved, and one more for each that is approved there."""

    unapproved: Notations = ("40/day",)
    """Starts."""
    numbers: Notations = ("20/day",)
    """Different numbers."""
    countries: Notations = ("3/day",)
    """Different countries."""
    network: Notations = ("200/day",)
    """Starts from one IPv6 /48."""
    provider: Notations = ("2000/day",)
    """Starts from one IPv6 /32."""


class BlockSettings(Section):
    """Messages into one block of 10,000 numbers unapproved, and how many more for each that is approved there."""

    unapproved: Notations = ("4/hour", "4/2 days")
    """Messages, all applications together."""
    growth: Growth = (1.0, 1.5)
    """How many more for each approval, of each of these in turn; the last one repeats."""


class CountryGuardSettings(Section):
    """Messages of an application into a country unapproved, and how many more for each that is approved there."""

    unapproved: Notations = ("20/day",)
    """Into any other country than its own."""
    home: Notations = ("1000/day",)
    """Into its own."""
    growth: Growth = (2.0,)
    """How many more for each approval, of each of these in turn; the last one repeats."""


class ConversionSettings(Section):
    """When hardly anybody types the codes in."""

    sends: int = Field(default=20, ge=5, le=100_000)
    """Verifications from which on the rate is judged."""
    rate: float = Field(default=0.15, gt=0, lt=1)
    """Share of approved ones below which a block or country is closed."""
    closed_for: int = Field(default=900, ge=60, le=_DAY)
    """Seconds that it is closed at first; the time doubles each time that it was no better."""
    max_closed_for: int = Field(default=_DAY, ge=60, le=7 * _DAY)
    """Seconds that it is closed at most."""
    trickle: Annotated[str, Field(max_length=64)] = "10/10 minutes"
    """What passes afterwards, until it shows whether it is better."""
    home_sends: int = Field(default=200, ge=5, le=100_000)
    """The same as ``sends`` for the application's own country, which a few blocks shall not close to newcomers."""
    home: Annotated[str, Field(max_length=64)] = "100/day"
    """What goes on into the application's own country while that is closed, and a quarter of what is approved."""
    home_block: Annotated[str, Field(max_length=64)] = "2/2 days"
    """What goes on then into one block of it."""


class FailureSettings(Section):
    """When most codes that an application checks are wrong."""

    wrong: int = Field(default=100, ge=10, le=1_000_000)
    """Wrong codes in a window from which on the share is judged."""
    share: float = Field(default=0.5, gt=0, lt=1)
    """Share of wrong ones above which it is an alarm."""
    window: int = Field(default=600, ge=60, le=_DAY)
    """Seconds."""


class GuardSettings(Section):
    """All rules, and what each does: ``enforce``, ``record_only`` or ``off``."""

    modes: dict[RuleId, Mode] = Field(default_factory=dict)
    """What a rule does, by its id, where that is not its default."""
    destinations: DestinationSettings = DestinationSettings()
    number: NumberSettings = NumberSettings()
    address: AddressSettings = AddressSettings()
    block: BlockSettings = BlockSettings()
    country: CountryGuardSettings = CountryGuardSettings()
    conversion: ConversionSettings = ConversionSettings()
    failures: FailureSettings = FailureSettings()
    currency: str = Field(default="PKR", pattern=r"^[A-Z]{3}$")
    """Of all prices and ceilings: ISO 4217."""
    decisions: int = Field(default=100_000, ge=1000, le=10_000_000)
    """Refusals, and would-have-been ones, that are kept at most, for as long as events are."""

    @model_validator(mode="before")
    @classmethod
    def _reads_dotted_ids(cls, given: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
        """Take ``[guard.modes] number.sends = "off"`` too, which TOML reads as a table in a table."""
        modes = given.get("modes") if isinstance(given, dict) else None
        if not isinstance(modes, dict):
            return given
        flat: dict[str, Any] = {}
        for name, mode in modes.items():
            if isinstance(mode, dict):
                flat.update({f"{name}.{rule}": one for rule, one in mode.items()})
            else:
                flat[name] = mode
        return {**given, "modes": flat}

    def destination_rules(self) -> DestinationRules:
        """Return the rules that count nothing."""
        own = self.destinations
        return DestinationRules(frozenset(own.types), own.denied, own.allowed, frozenset(own.safe), self.modes)

    def mode(self, rule: str) -> Mode:
        """Return what a rule does."""
        return self.modes.get(rule, RULES[rule].mode)


ANY: Final = "any"
Category = Literal["transactional", "promotional"]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=64)]
TemplateId = Annotated[str, StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9-]+/[a-z0-9_-]+/[a-z]+$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class CountrySettings(Section):
    """What is asked of messages to one country; by default nothing."""

    consent: Literal["required", "any"] = ANY
    """``required``: every application that sends there needs a consent for each number."""
    senders: Literal["registered", "any"] = ANY
    """``registered``: a text message goes out under a sender of ``senders`` that is registered there, or not at all."""
    category: Category | Literal["any"] = ANY
    """The category that such a sender has."""
    reserved_sender_ids: tuple[str, ...] = ()
    """Words that may be no sender's name."""
    templates: Literal["approved", "any"] = ANY
    """``approved``: a text message is made of a template of ``approvals``, word by word, or does not go out."""
    languages: tuple[Locale, ...] = ()
    """Languages that messages may be in, the first one by default."""
    sim_boxes: Literal["refused", "any"] = ANY
    """``refused``: in production, no gateway that leaves by SIM cards carries messages there."""

    def rules(self, *, production: bool) -> CountryRules:
        """Return the rules, some of which are of production alone."""
        return CountryRules(
            registered_senders=self.senders == "registered",
            category=None if self.category == ANY else self.category,
            approved_templates=self.templates == "approved",
            sim_boxes_refused=production and self.sim_boxes == "refused",
            languages=self.languages,
        )


class RegistrationSettings(Section):
    """What a sender and an approval have in common."""

    country: CountryCode
    reference: Reference
    """Number or name of the registration, as whoever registered it wrote."""
    valid_until: date | None = None
    """Its last day; it is announced 30 days before."""


class SenderSettings(RegistrationSettings):
    """One name that handsets show as the sender, as it is registered."""

    sender_id: Annotated[str, StringConstraints(min_length=1, max_length=20)]
    """At most 11 letters, digits and blanks."""
    category: Category = "transactional"
    applications: tuple[Name, ...] = ()
    """Who sends under it; empty: every application."""

    def as_sender(self, name: str) -> Sender:
        """Return the sender under its name."""
        return Sender(name=name, **dict(self) | {"applications": frozenset(self.applications)})


class ApprovalSettings(RegistrationSettings):
    """One template that is approved, word by word (``otp-service messages templates`` tells its digest)."""

    template: TemplateId
    sha256: Digest

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
    """Words beside ours that a whole message may be, in any spelling of case and width; and what is answered."""

    stop: ExtraKeywords = ()
    """No more messages of the application that the number was written to by last."""
    start: ExtraKeywords = ()
    """Messages again."""
    help: ExtraKeywords = ()
    """Who this is, and how to end it."""
    replies: tuple[Literal["stop", "help"], ...] = ("stop", "help")
    """What is answered, once a day for a number; none where the provider does so itself."""
    region: CountryCode | None = None
    """Region of senders in national spelling, where a provider passes them on so."""

    @model_validator(mode="after")
    def _words_have_one_meaning(self) -> Self:
        self._keyword_matcher()
        return self

    @property
    def rules(self) -> InboundRules:
        """How what people write is read and answered."""
        return InboundRules(self._keyword_matcher(), self.region, frozenset(map(Meaning, self.replies)))

    def _keyword_matcher(self) -> KeywordMatcher:
        return _vocabulary_with(self.stop, self.start, self.help)


@lru_cache(maxsize=8)
def _vocabulary_with(stop: tuple[str, ...], start: tuple[str, ...], help_: tuple[str, ...]) -> KeywordMatcher:
    """Return our words and further ones; made once, for they are asked for more than once and take a while to make."""
    ours = {meaning: languages.values() for meaning, languages in default_keywords().items()}
    return KeywordMatcher(ours, {Meaning.STOP: stop, Meaning.START: start, Meaning.HELP: help_})


@cache
def default_keywords() -> dict[Meaning, dict[str, Keywords]]:
    """Return the words that come with the package, by meaning and language."""
    found = tomllib.loads((files(__package__) / "inbound_keywords.toml").read_text(encoding="utf-8"))
    return {
        Meaning(meaning): {language: _words(one) for language, one in languages.items()}
        for meaning, languages in found.items()
    }


def _words(given: dict[str, Any]) -> Keywords:
    """Return the words of a language; a noun and a verb are one that is firm."""
    phrases = map(" ".join, product(given.get("nouns", ()), given.get("verbs", ())))
    return Keywords(tuple(given.get("whole", ())), (*given.get("firm", ()), *phrases), tuple(given.get("beside", ())))


class LedgerSettings(Section):
    """The database for what must not be lost. Starts and checks never ask it."""

    url: SecretStr = SecretStr("sqlite:////var/lib/otp-service/ledger.db")
    """``sqlite:///PATH``, for one host, or ``postgresql://…``, which may hold a user, a password, parameters of TLS."""
    timeout: float = Field(default=5.0, gt=0, le=60)
    """Seconds to wait for a connection, a lock or an answer."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which the database and its backups are, for ``residency``."""
    upgrade: bool = True
    """Whether a process brings the tables up to date when it starts."""

    rebuild_lost_mirror: bool | None = None
    """Whether an emptied Redis is filled from the ledger without asking an operator: a ledger that was restored from an
    older copy goes unnoticed then. ``None``: in development only."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: SecretStr) -> SecretStr:
        check_ledger_url(url.get_secret_value())
        return url

    @property
    def shown_url(self) -> str:
        """The address without user, password and parameters."""
        return shown_ledger_url(self.url.get_secret_value())


_SYSLOG: Final = re.compile(r"syslog:(/\S+|//[A-Za-z0-9.-]+(:[0-9]{1,5})?)")
_FORMS = "is not file:/PATH, syslog:/dev/log or syslog://HOST:PORT"


class AuditSettings(Section):
    """The audit chain: that its last entries were cut off shows only by a head that was handed out before."""

    export: str = ""
    """``file:/PATH``, ``syslog:/dev/log`` or ``syslog://HOST:PORT`` (UDP); empty: heads are signed and stay here."""
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
"""Not before the last entry of a stream (``streams.retention_days``): one that comes late must find what follows it."""


class RetentionSettings(Section):
    """Days for which each class of data is kept in the ledger; what is older, workers delete by themselves."""

    # Descriptions, which docs/data.md quotes; docstrings would be looked for in the source at each start.
    traffic: Days = Field(
        400,
        description="Verifications and what happened to them: a provider's bill is disputed within the year.",
    )
    consents: ProofDays = Field(
        1095,
        description="Consents, after others followed them: three years, in which most claims must be brought. "
        "The last word stays.",
    )
    suppressions: ProofDays = Field(
        1095,
        description="Suppressions, after they were lifted or ended: proof, as long as that of a consent, "
        "that they were respected.",
    )
    inbound: Annotated[int, Field(ge=7, le=7300)] = Field(
        90,
        description="Messages that people sent: what one meant is in the suppression that it made. "
        "Gateways repeat them for days.",
    )
    access: Days = Field(
        400,
        description="API keys, after they were revoked or ended: as long as the traffic that they asked for.",
    )
    accountability: ProofDays = Field(
        1095,
        description="What was erased for somebody, what was deleted by itself, what operators did: proof that it was.",
    )
    audit: ProofDays = Field(
        3650,
        description="The audit chain, which has digests only: ten years, longer than all that it proves.",
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


def kind_validator(kinds: PluginKinds) -> Callable[[Any], Any]:
    """Return what reads a section: it gives ``kind`` and ``settings``, or raises an error of the type `KIND_FAULTS`."""

    def read(members: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        if not isinstance(members, Mapping):
            return members
        own = dict(members)
        kind = own.pop("kind", None)
        if not isinstance(kind, str):
            raise _refused(kinds, [(("kind",), f"is one of {', '.join(kinds.names())}.")])
        return {"kind": kind, "settings": _own_settings(kinds, kind, own)}

    return read


def _own_settings(kinds: PluginKinds, kind: str, own: dict[str, Any]) -> BaseModel:
    try:
        model: type[BaseModel] = kinds.find(kind).Settings  # type: ignore[attr-defined] # one of the members it has
        return model.model_validate(own)
    except ConfigurationError as unusable:
        raise _refused(kinds, [(("kind",), plain_sentence(str(unusable)))]) from None
    except ValidationError as invalid:
        raise _refused(kinds, list(model_faults(invalid, model))) from None


def _refused(kinds: PluginKinds, faults: list[SettingFault]) -> PydanticCustomError:
    # A ValidationError inside a validator would become one error, and its text shows what was given.
    return PydanticCustomError(KIND_FAULTS, f"is not a {kinds.noun}", {"faults": faults})


class ConfiguredGateway(BaseModel):
    """One gateway under its name: the class that its kind means, and the settings of that class."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    kind: str
    settings: SerializeAsAny[GatewaySettings]

    @property
    def gateway_class(self) -> type[Gateway]:
        """The class that sends."""
        return load_gateway_class(self.kind)

    @property
    def channels(self) -> frozenset[str]:
        """What it carries: as its settings say, where the kind leaves that to them."""
        return frozenset(getattr(self.settings, "channels", self.gateway_class.channels))


GatewayEntry = Annotated[ConfiguredGateway, BeforeValidator(kind_validator(GATEWAY_KINDS))]


class PolicySection(BaseModel):
    """One policy under its name: the class that its kind means, and the settings of that class."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    kind: str
    settings: SerializeAsAny[PolicySettings]

    @property
    def policy_class(self) -> type[Policy]:
        """The class that answers."""
        return load_policy_class(self.kind)


PolicyEntry = Annotated[PolicySection, BeforeValidator(kind_validator(POLICY_KINDS))]


def walk_settings(value: Any, place: str, *, tables: bool = True) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - a kind's own
    """Yield place and value of every member of a section, of sections and lists in it too.

    ``tables``: of free tables as well, such as the parameters of a template, where anything may stand.
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
            yield place, value
            return
    for step, member in below:
        yield from walk_settings(member, f"{place}.{step}", tables=tables)
