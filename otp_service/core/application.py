"""Applications: the callers, and what each may do."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from otp_service.core.consent import ConsentMode
from otp_service.core.guard.sending import Place

LOCALE_PATTERN: Final = r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$"
"""The form of a BCP 47 tag: a language, and subtags for script, region, variants and extensions."""
MAX_LOCALE: Final = 35
"""Characters of the longest tag (RFC 5646, 4.4.1)."""


class ClientIp(StrEnum):
    """Where an application's end-user address comes from."""

    REQUIRED = "required"
    """The ``client_ip`` member of a start; without it the start is refused."""
    CONNECTION = "connection"
    """The member, or without it the peer of the HTTP connection."""
    NONE = "none"
    """Nowhere: rules on addresses do not apply."""


@dataclass(frozen=True, slots=True)
class Application:
    """One caller of the API."""

    name: str
    """Identifier, part of every key and MAC."""
    title: str
    """The brand that a message shows to a person."""
    purposes: frozenset[str]
    countries: frozenset[str] | None
    """ISO 3166-1 alpha-2 codes that it sends to; ``None`` for all (development only)."""
    region: str | None
    """Region of numbers in national spelling."""
    locale: str
    """BCP 47 tag of messages when a start names none."""
    client_ip: ClientIp
    home: str | None = None
    """The country that most of its traffic goes to."""
    origin: str | None = None
    """Host of the origin-bound last line of a message (WICG sms-one-time-codes)."""
    app_hash: str | None = None
    """Hash by which Android's SMS Retriever finds the messages of the application's app."""
    consent: ConsentMode = ConsentMode.OFF
    """What its starts need."""
    payees: frozenset[str] = field(default_factory=frozenset)
    """Payees allowed although they look like a domain name."""

    @property
    def withdrawals(self) -> ConsentMode:
        """What a message after the first needs: only that no consent was withdrawn since the start."""
        return ConsentMode.OFF if self.consent is ConsentMode.OFF else ConsentMode.RECORDED

    def place_of(self, country: str) -> Place:
        """Return where a country (ISO 3166-1 alpha-2) is for the application."""
        return Place.HOME if country == self.home else Place.ABROAD

    def sends_to(self, country: str) -> bool:
        """Tell whether the application sends to a country (ISO 3166-1 alpha-2)."""
        return self.countries is None or country in self.countries
