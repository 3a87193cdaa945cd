"""Sections that become rules: purposes, applications and routes."""

import re
import unicodedata
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from otp_service.domain.applications import LOCALE_PATTERN, MAX_LOCALE, Application, ClientIp
from otp_service.domain.payments import MAX_NAME, rule_of_names
from otp_service.domain.people import ConsentMode
from otp_service.domain.templates import is_own_link, links_in
from otp_service.domain.verification import LONGEST_LIFE, Channel, Purpose, PurposeKind, Resend, Route
from otp_service.gateways.base import CountryCode, known_country
from otp_service.settings.sections import Section
from otp_service.settings.spend import SpendSettings

ALL_COUNTRIES = "*"
MAX_TRANSACTION_CHECKS = 5
"""Codes compared for a transaction at most (PSD2 RTS, article 4(3)(b))."""

_NAME = re.compile(r"[a-z0-9_-]{1,32}")
_KEY_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_APP_HASH = re.compile(r"[A-Za-z0-9+/]{11}")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+")


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
    return country if country == ALL_COUNTRIES else known_country(country)


def _brand(name: str) -> str:
    composed = unicodedata.normalize("NFC", name)
    if rule := rule_of_names(composed):
        raise ValueError(f"stands in messages: it {rule}")
    return composed


def _host(origin: str) -> str:
    if not _HOST.fullmatch(origin):
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
Payee = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]
Delay = Annotated[int, Field(ge=0, le=600)]


class PurposeSettings(Section):
    """The policy of one purpose; a verification keeps the one it was started with."""

    kind: PurposeKind = PurposeKind.POSSESSION
    """``possession``, or ``transaction``: the code is a function of an amount and a payee."""
    code_length: int = Field(default=6, ge=6, le=8)
    """Digits."""
    ttl: int = Field(default=300, ge=1, le=LONGEST_LIFE)
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

    def to_core(self, name: str) -> Purpose:
        """Return the purpose under its name."""
        return Purpose(name=name, **{member: getattr(self, member) for member in type(self).model_fields})


class ApplicationSection(Section):
    """What an application may do, wherever that is kept."""

    name: Brand | None = None
    """The brand that messages show; default: the section's own name."""
    purposes: tuple[Name, ...] = Field(min_length=1)
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
    client_ip: ClientIp = ClientIp.REQUIRED
    """``required``, ``connection`` or ``none``: where an end user's address comes from."""
    origin: Annotated[str, AfterValidator(_host)] | None = None
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

    def to_core(self, name: str) -> Application:
        """Return the application under its name."""
        return Application(
            name=name,
            title=self.name or name,
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

    def to_core(self) -> Route:
        """Return the route."""
        return Route(
            gateways=self.gateways,
            countries=frozenset(self.countries),
            purposes=frozenset(self.purposes),
            channels=frozenset(map(str, self.channels)),
        )
