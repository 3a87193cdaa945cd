"""For how long the ledger keeps what it records, by class of data. What Redis keeps is another matter."""

from dataclasses import dataclass
from typing import Final

_DAY: Final = 24 * 3600 * 1000
"""Milliseconds."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """Days for which each class of data is kept; a member is named as the class is."""

    traffic: int
    consents: int
    """After another entry followed one. The last word is kept, given or withdrawn."""
    suppressions: int
    """After a suppression was lifted, ended, or followed by another. One that holds is kept."""
    inbound: int
    access: int
    """After an API key was revoked or ended."""
    duties: int
    audit: int

    def before(self, data: str, now: int) -> int:
        """Return the time before which a class of data goes; times are milliseconds since the epoch."""
        days: int = getattr(self, data)
        return now - days * _DAY
