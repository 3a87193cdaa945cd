"""Consents: what an application demands, the evidence of one, given and withdrawn."""

from dataclasses import dataclass, replace
from enum import StrEnum


class ConsentMode(StrEnum):
    """What an application's starts need."""

    REQUIRED = "required"
    """A start without a consent, its own or an earlier one, is refused."""
    RECORDED = "recorded"
    """What is given is kept, and a withdrawal counts; nothing is demanded."""
    OFF = "off"
    """Neither kept nor looked at."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What shows that somebody agreed."""

    text_version: str
    """The caller's name of the words that were shown."""
    text_sha256: str
    """Their SHA-256, 64 hexadecimal digits."""
    locale: str
    """BCP 47 tag of their language."""
    channel: str
    """Where they were shown, such as ``web`` or ``app``."""
    given: int
    """When: milliseconds since the epoch, as the caller says."""
    source: str
    """Which page, screen or paper it was."""
    address_prefix: str = ""
    """The end user's address without its last part (IPv4 /24, IPv6 /48), empty when it is not known."""

    @property
    def erased(self) -> "Evidence":
        """What is left of it after an erasure: what shows to which words somebody agreed, where and when."""
        return replace(self, text_version="", source="", address_prefix="")

    def repeats(self, other: "Evidence") -> bool:
        """Tell whether it is the same as another: the same words, agreed to at the same time and place."""
        same = (self.text_sha256, self.locale, self.channel, self.given)
        return same == (other.text_sha256, other.locale, other.channel, other.given)


@dataclass(frozen=True, slots=True)
class Consent:
    """One entry: given with its evidence, or withdrawn. It is never changed, only followed by another."""

    pseudonym: str
    application: str
    purpose: str
    evidence: Evidence | None
    """``None`` when it is a withdrawal."""
    counts_from: int | None = None
    """The ledger's place from which on it counts; ``None`` for that at which it is recorded."""
    recorded: int = 0
    """When it was recorded: milliseconds since the epoch, by the ledger's host."""
    said: int = 0
    """When it was said: of a consent when it was given. Of a withdrawal when it was recorded, or later: no earlier than
    what it withdraws was given, by whichever clock. Only what was said later is newer."""

    @property
    def about(self) -> tuple[str, str, str]:
        """What entries have in common that follow each other: number, application and purpose."""
        return self.pseudonym, self.application, self.purpose

    @property
    def withdrawn(self) -> bool:
        """Whether the entry withdraws what was given before."""
        return self.evidence is None
