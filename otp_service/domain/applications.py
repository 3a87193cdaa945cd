"""Applications and their API keys."""

import ipaddress
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from otp_service.domain.consents import ConsentMode
from otp_service.domain.hosted_pages import DEFAULT_COLOR
from otp_service.errors import Fault, InvalidRequestError

LOCALE_PATTERN: Final = r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$"
"""The form of a BCP 47 tag: a language, and subtags for script, region, variants and extensions."""
MAX_LOCALE: Final = 35
"""Characters of the longest tag (RFC 5646, 4.4.1)."""


class ClientIpSource(StrEnum):
    """The source of an application's end-user addresses."""

    REQUIRED = "required"
    """The ``client_ip`` member of a start; without it the start is refused."""
    CONNECTION = "connection"
    """The member, or without it the peer of the HTTP connection."""
    NONE = "none"
    """Nowhere: rules on addresses do not apply."""


NO_HUMAN_CHECK: Final = "none"
ASSERTION: Final = "assertion"
"""The application checks itself and asserts the result. Any other value names the verifier of a token."""


class Zone(StrEnum):
    """The zone of a country for an application."""

    DOMESTIC = "home"
    """The application's own country: its traffic is large, and never cut off altogether."""
    INTERNATIONAL = "abroad"


MAX_SKEW: Final = 5
"""Maximum steps (RFC 6238) that a code may come late or early."""


@dataclass(frozen=True, slots=True)
class TotpSkew:
    """Steps that a code of an authenticator app may come late or early, by Redis' clock."""

    late: int = 1
    early: int = 1

    def steps_at(self, step: int) -> range:
        """Return the steps with right codes at a step, the oldest first."""
        return range(max(0, step - self.late), step + self.early + 1)

    def life(self, period: int) -> int:
        """Return the maximum life of a code in milliseconds, for a period in seconds."""
        return 1000 * period * (self.late + self.early + 1)


@dataclass(frozen=True, slots=True)
class Application:
    """One caller of the API."""

    name: str
    brand: str
    purposes: frozenset[str]
    countries: frozenset[str] | None
    """ISO 3166-1 alpha-2; ``None`` for all (development only)."""
    region: str | None
    locale: str
    """BCP 47 tag of messages when a start has none."""
    client_ip: ClientIpSource
    home: str | None = None
    """The country of most of its traffic."""
    origin: str | None = None
    """Host of the origin-bound last line of a message (WICG sms-one-time-codes)."""
    app_hash: str | None = None
    """Hash by which Android's SMS Retriever finds the messages of the application's app."""
    consent: ConsentMode = ConsentMode.OFF
    payees: frozenset[str] = field(default_factory=frozenset)
    """Payees allowed although they look like a domain name."""
    totp_skew: TotpSkew = field(default_factory=TotpSkew)
    human_check: str = NO_HUMAN_CHECK
    """`NO_HUMAN_CHECK`, `ASSERTION`, or a verifier's name."""
    proofs: bool = False
    browser_origins: frozenset[str] = field(default_factory=frozenset)
    """Web origins (RFC 6454) whose pages may use its client tokens."""
    page_return_urls: frozenset[str] = field(default_factory=frozenset)
    """Return addresses of pages, without a query; empty without pages."""
    page_color: str = DEFAULT_COLOR
    """RGB in hexadecimal digits."""
    dialects: frozenset[str] = field(default_factory=frozenset)

    @property
    def consent_for_resend(self) -> ConsentMode:
        """The consent for a further message: only that none was withdrawn since the start."""
        return ConsentMode.OFF if self.consent is ConsentMode.OFF else ConsentMode.RECORDED

    def zone_of(self, country: str) -> Zone:
        """Return the zone of a country (ISO 3166-1 alpha-2)."""
        return Zone.DOMESTIC if country == self.home else Zone.INTERNATIONAL

    def sends_to(self, country: str) -> bool:
        """Tell whether the application sends to a country (ISO 3166-1 alpha-2)."""
        return self.countries is None or country in self.countries


Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NO_APPLICATION: Final = ""
"""The application of an operator's key, which reads no application's data."""
MAX_NETWORKS: Final = 50
_KEY_ID: Final = re.compile(r"ak_[0-9a-f]{32}")
_IPV4_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")


class KeyScope(StrEnum):
    """The scope of a key."""

    VERIFY = "verify"
    CONSENT = "consent"
    SUBJECTS = "subjects"
    """Data stored about a number, its erasure, and its freeze."""
    WEBHOOKS = "webhooks"
    FACTORS = "factors"
    STATS = "stats"
    ADMIN = "admin"
    """All applications and their keys, but no application's data."""


APPLICATION_SCOPES: Final = frozenset(KeyScope) - {KeyScope.ADMIN}
"""Scopes that an application's key may have; a key of the configuration has them all."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored API key, by its hash. Times are milliseconds since the epoch."""

    id: str
    """Public; empty for a key of the configuration."""
    application: str
    """`NO_APPLICATION` for an operator's key."""
    hash: str = field(repr=False)
    scopes: frozenset[KeyScope]
    networks: tuple[Network, ...] = ()
    created: int = 0
    expires: int | None = None
    revoked: int | None = None
    used: int | None = None
    """The last use, to the minute."""

    def is_valid(self, now: int) -> bool:
        """Tell whether it is neither revoked nor past its end."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def admits(self, address: str | None) -> bool:
        """Tell whether it may be used from an address; an unknown address (``None``) is on no list."""
        if not self.networks or address is None:
            return not self.networks
        parsed = ipaddress.ip_address(address)
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self.networks)


def new_key_id() -> str:
    """Return a new identifier of a key: 128 random bits."""
    return f"ak_{secrets.token_hex(16)}"


def is_key_id(text: str) -> bool:
    """Tell whether a text has the form of a key's identifier."""
    return _KEY_ID.fullmatch(text) is not None


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks of an address list, without repetitions; raise `InvalidRequestError` with all faults."""
    networks: dict[Network, None] = {}
    faults = []
    for place, text in enumerate(texts):
        try:
            network = ipaddress.ip_network(text)
        except ValueError:  # also for bits behind the prefix
            network = None
        if isinstance(network, ipaddress.IPv6Network) and (
            network.network_address.scope_id or network.subnet_of(_IPV4_MAPPED)
        ):
            network = None  # no caller has such an address: IPv4 in IPv6 counts as IPv4, a zone is local to a host
        if network is None:
            faults.append(Fault(f"/addresses/{place}", "is not an address or a network"))
        else:
            networks[network] = None
    if faults:
        raise InvalidRequestError(
            "An address list names addresses and networks such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/48.",
            tuple(faults),
        )
    return tuple(networks)
