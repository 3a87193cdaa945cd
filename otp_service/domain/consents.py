"""Consents and suppressions of a number, and their state in the mirror."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final


class ConsentMode(StrEnum):
    """The consent that an application's starts need."""

    REQUIRED = "required"
    """A start without a consent, its own or an earlier one, is refused."""
    RECORDED = "recorded"
    """Consents are recorded, and a withdrawal counts; a start needs none."""
    OFF = "off"


@dataclass(frozen=True, slots=True)
class ConsentEvidence:
    """Evidence that a person agreed."""

    text_version: str
    """The caller's name of the shown words."""
    text_sha256: str
    """Of the words, in 64 hexadecimal digits."""
    locale: str
    channel: str
    """Such as ``web`` or ``app``."""
    agreed_at: int
    """Milliseconds since the epoch, by the caller."""
    source: str
    address_prefix: str = ""
    """The end user's IPv4 /24 or IPv6 /48, empty when it is not known."""

    @property
    def erased(self) -> "ConsentEvidence":
        """The evidence after an erasure: the words, where and when."""
        return replace(self, text_version="", source="", address_prefix="")

    def repeats(self, other: "ConsentEvidence") -> bool:
        """Tell whether words, channel and time are the same as another's."""
        same = (self.text_sha256, self.locale, self.channel, self.agreed_at)
        return same == (other.text_sha256, other.locale, other.channel, other.agreed_at)


@dataclass(frozen=True, slots=True)
class Consent:
    """An entry of a consent, or without evidence of its withdrawal. Only later entries change its effect.

    Times are milliseconds since the epoch, by the ledger's host.
    """

    pseudonym: str
    application: str
    purpose: str
    evidence: ConsentEvidence | None
    counts_from: int | None = None
    """The ledger's place from which it counts; ``None`` for the place where it is recorded."""
    recorded: int = 0
    stated_at: int = 0
    """When it was given; of a withdrawal the later of its recording and the withdrawn consent. It orders entries."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Number, application and purpose: the key of successive entries."""
        return self.pseudonym, self.application, self.purpose

    @property
    def withdrawn(self) -> bool:
        """Whether the entry is a withdrawal."""
        return self.evidence is None


EVERY_APPLICATION: Final = "*"
"""In place of an application's name, for operators only."""
MAX_REASON: Final = 200


class SuppressionScope(StrEnum):
    """The messages that a suppression blocks."""

    ALL = "all"
    MARKETING_ONLY = "marketing_only"
    """No message of this service, which sends no marketing: requested codes go out."""
    FROZEN = "frozen"
    """Every message and approval, after reported fraud. Only an unfreeze lifts it: no START, list, or lift of
    another scope."""


SETTABLE_SCOPES: Final = (SuppressionScope.ALL, SuppressionScope.MARKETING_ONLY)
"""Scopes for calls, commands and lists; freezes have their own."""
BLOCKING_SCOPES: Final = frozenset({SuppressionScope.ALL, SuppressionScope.FROZEN})


class SuppressionSource(StrEnum):
    """The source of a suppression."""

    API = "api"
    OPERATOR = "operator"
    INBOUND = "inbound"
    """The holder's message, such as STOP."""
    GATEWAY = "gateway"
    IMPORT = "import"


HOLDER_SOURCES: Final = frozenset({SuppressionSource.INBOUND, SuppressionSource.GATEWAY})
"""Sources under the control of a number's holder, who may revoke them."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """A record that suppresses a number, or lifts a suppression. Only later records change its effect.

    Times are milliseconds since the epoch, by the ledger's host.
    """

    pseudonym: str
    application: str
    """Or `EVERY_APPLICATION`."""
    scope: SuppressionScope
    source: SuppressionSource
    reason: str = ""
    until: int | None = None
    """Milliseconds since the epoch; ``None`` for no end."""
    lifted: bool = False
    """Whether it lifts the earlier entries of the same application and scope."""
    recorded: int = 0

    @property
    def key(self) -> tuple[str, str, SuppressionScope]:
        """Number, application and scope: the key of successive entries."""
        return self.pseudonym, self.application, self.scope

    def is_active(self, now: int) -> bool:
        """Tell whether it blocks messages at ``now`` (milliseconds since the epoch)."""
        return not self.lifted and (self.until is None or self.until > now)

    def repeats(self, other: "Suppression", now: int) -> bool:
        """Tell whether it adds nothing to another at ``now``: the same key, source and reason, and no later end."""
        same = (self.key, self.source, self.reason) == (other.key, other.source, other.reason)
        return same and not other.lifted and self.is_active(now) and _later(self.until, other.until) == self.until


def latest_entries(entries: Iterable[Suppression]) -> tuple[Suppression, ...]:
    """Return the last entry of each key, from entries in order; an entry never shortens the one before it."""
    last: dict[tuple[str, str, SuppressionScope], Suppression] = {}
    for entry in entries:
        before = last.get(entry.key)
        goes_on = before is not None and not before.lifted and not entry.lifted
        last[entry.key] = replace(entry, until=_later(before.until, entry.until)) if before and goes_on else entry
    return tuple(last.values())


def _later(first: int | None, second: int | None) -> int | None:
    """Return the later of two ends; ``None`` is never."""
    return None if first is None or second is None else max(first, second)


def is_suppressed(entries: Iterable[Suppression], now: int) -> bool:
    """Tell whether entries in order suppress a number at ``now`` (milliseconds since the epoch), freezes aside."""
    return any(entry.scope is SuppressionScope.ALL and entry.is_active(now) for entry in latest_entries(entries))


def active_freezes(entries: Iterable[Suppression]) -> tuple[Suppression, ...]:
    """Return the entries (oldest first) that freeze a number and that no later entry lifts."""
    active: list[Suppression] = []
    for entry in entries:
        if entry.scope is SuppressionScope.FROZEN:
            others = [earlier for earlier in active if earlier.key != entry.key]
            active = others if entry.lifted else [*active, entry]
    return tuple(active)


def active_suppressions(entries: Sequence[Suppression], now: int) -> tuple[Suppression, ...]:
    """Return the entries (oldest first) that block codes at ``now``, the last of each application and scope."""
    latest = latest_entries(entries)
    others = (entry for entry in latest if entry.scope is SuppressionScope.ALL and entry.is_active(now))
    return tuple({entry.key: entry for entry in (*active_freezes(entries), *others)}.values())


@dataclass(frozen=True, slots=True)
class LedgerPosition:
    """A point in the history of a ledger, for itself or its mirror."""

    identity: str
    sequence: int
    """Number of the last change for the mirror."""
    entry: int
    """That change's entry in the audit chain; 0 before the first change."""
    link: str
    """That entry's link, which no other history has."""


@dataclass(frozen=True, slots=True)
class NumberState:
    """A number's state at a change of the ledger."""

    pseudonym: str
    suppressed: Mapping[str, int | None]
    """Ends of the suppressions that block codes, freezes aside, by application (`EVERY_APPLICATION` for all);
    milliseconds since the epoch, ``None`` for no end."""
    consents: Mapping[tuple[str, str], tuple[bool, int, int]]
    """By application and purpose: whether it is given, the ledger's place from which it counts, and the time after
    which a consent is newer."""
    frozen: frozenset[str] = frozenset()
    """Applications (`EVERY_APPLICATION` for all)."""
    lifted: Mapping[str, int] = field(default_factory=dict)
    """Places in the ledger where freezes were lifted recently, by application (`EVERY_APPLICATION` for all).
    Verifications from before stay ended."""
    erased: Mapping[str, int] = field(default_factory=dict)
    """Places in the ledger of recent erasures, by application (`EVERY_APPLICATION` for all). Verifications and
    approvals from before are no longer valid."""
    factors: Mapping[str, str] = field(default_factory=dict)
    """Of a user, who is mirrored like a number: active factors by id, packed (`SealedFactor`)."""


@dataclass(frozen=True, slots=True)
class MirrorChanges:
    """The numbers that changed between two places of a ledger, in their present state."""

    after: LedgerPosition
    reached: LedgerPosition
    read_at: int
    """The ledger's last change when the states were read."""
    numbers: tuple[NumberState, ...]
