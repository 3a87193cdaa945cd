"""Events of verifications."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

CONSENT_GIVEN: Final = "consent.given"
"""Type of the event with a start's consent, which is deleted once it is recorded."""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a verification; with pseudonyms, and the evidence of a consent that came with a start."""

    id: str
    """Its name, the same however often it is read; empty where only its content is looked at."""
    at: int
    """When: milliseconds since the epoch, by Redis' clock."""
    type: str
    """Such as ``verification.started``."""
    fields: Mapping[str, str]

    def member(self, name: str) -> str:
        """Return a field, empty when there is none of that name."""
        return self.fields.get(name, "")
