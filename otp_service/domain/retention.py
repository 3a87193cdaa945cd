"""How long each class of data is kept in the ledger, and what a purge deleted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from otp_service.domain.audit import canonical_json


@dataclass(frozen=True, slots=True)
class PurgeRecord:
    """What a purge deleted, signed: nothing else tells why a row is gone. Times are milliseconds since the epoch."""

    id: str
    data: str
    """Class of data."""
    before: int
    """What was older went, but for classes whose rows are named."""
    at: int
    rows: int = 0
    """How many went. It grows while a purge goes on, so it is not signed."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The keys of the rows, and the beginnings of their digests, where age alone does not end them."""
    upto: int = 0
    """Number of the last entry of the chain that went; the chain begins after it. 0 where none did."""
    link: str = ""
    """That entry's link."""
    signature: str = ""
    """Base64."""

    @property
    def signed(self) -> bytes:
        """What the signature is of: canonical JSON."""
        return canonical_json([self.id, self.data, self.before, self.at, self.names, self.upto, self.link])


_DAY: Final = 24 * 3600 * 1000
"""Milliseconds."""


@dataclass(frozen=True, slots=True)
class RetentionDays:
    """Days for which each class of data is kept; a member is named as the class is."""

    traffic: int
    consents: int
    """After another entry followed one. The last word is kept, given or withdrawn."""
    suppressions: int
    """After a suppression was lifted, ended, or followed by another. One that holds is kept."""
    inbound: int
    access: int
    """After an API key was revoked or ended."""
    accountability: int
    audit: int

    def cutoff(self, data: str, now: int) -> int:
        """Return the time before which a class of data goes; times are milliseconds since the epoch."""
        days: int = getattr(self, data)
        return now - days * _DAY
