"""Consents and suppressions of a number, and their state in the mirror."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final


class ConsentMode(StrEnum):
    """What an application's starts need."""

    REQUIRED = "required"
    """A start without a consent, its own or an earlier one, is refused."""
    RECORDED = "recorded"
    """Consents are recorded, and a withdrawal counts; a start needs none."""
    OFF = "off"
    """Consents are neither recorded nor read."""


@dataclass(frozen=True, slots=True)
class ConsentEvidence:
    """Evidence that a person agreed."""

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
    def erased(self) -> "ConsentEvidence":
        """The evidence after an erasure: the words that were agreed to, where and when."""
        return replace(self, text_version="", source="", address_prefix="")

    def repeats(self, other: "ConsentEvidence") -> bool:
        """Tell whether it is the same as another: the same words, agreed to at the same time and place."""
        same = (self.text_sha256, self.locale, self.channel, self.given)
        return same == (other.text_sha256, other.locale, other.channel, other.given)


@dataclass(frozen=True, slots=True)
class Consent:
    """One entry: given with its evidence, or withdrawn. It is never changed, only followed by another."""

    pseudonym: str
    application: str
    purpose: str
    evidence: ConsentEvidence | None
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


EVERY_APPLICATION: Final = "*"
"""In place of an application's name: all of them, for operators only."""
MAX_REASON: Final = 200
"""Characters of a reason."""


class SuppressionScope(StrEnum):
    """Which messages a suppression keeps back."""

    ALL = "all"
    """Every message, requested codes included."""
    MARKETING_ONLY = "marketing_only"
    """No message of this service, which sends no marketing: requested codes go out."""
    FROZEN = "frozen"
    """Every message, and no code is approved: fraud was reported. It follows only its own scope: nothing but an
    unfreeze lifts it, no START, no list, and no lift of another scope."""


SETTABLE_SCOPES: Final = (SuppressionScope.ALL, SuppressionScope.MARKETING_ONLY)
"""Scopes that a call, a command or a list may name. A freeze is made and lifted in its own way only."""
BLOCKING_SCOPES: Final = frozenset({SuppressionScope.ALL, SuppressionScope.FROZEN})
"""Scopes that keep back what this service sends: starts and dispatches have to know of them."""


class SuppressionSource(StrEnum):
    """Where a suppression came from."""

    API = "api"
    """A call of an application."""
    OPERATOR = "operator"
    """An operator, by hand."""
    INBOUND = "inbound"
    """The holder answered a message, such as with STOP."""
    GATEWAY = "gateway"
    """A gateway answered that the holder wants no messages."""
    IMPORT = "import"
    """It came in a list."""


HOLDER_SOURCES: Final = frozenset({SuppressionSource.INBOUND, SuppressionSource.GATEWAY})
"""Sources that the holder of a number controls, and may take back."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """One entry: suppressed, or lifted again. It is never changed, only followed by another."""

    pseudonym: str
    application: str
    """Or `EVERY_APPLICATION`."""
    scope: SuppressionScope
    source: SuppressionSource
    reason: str = ""
    until: int | None = None
    """When it ends by itself: milliseconds since the epoch; ``None`` for never."""
    lifted: bool = False
    """Whether the entry lifts what was suppressed before, of the same application and scope."""
    recorded: int = 0
    """When it was recorded: milliseconds since the epoch, by the ledger's host."""

    @property
    def about(self) -> tuple[str, str, SuppressionScope]:
        """What entries have in common that follow each other: number, application and scope."""
        return self.pseudonym, self.application, self.scope

    def is_active(self, now: int) -> bool:
        """Tell whether it keeps messages back at ``now`` (milliseconds since the epoch)."""
        return not self.lifted and (self.until is None or self.until > now)

    def repeats(self, other: "Suppression", now: int) -> bool:
        """Tell whether it equals another at ``now``: same subject, source and reason, and lasting as long."""
        same = (self.about, self.source, self.reason) == (other.about, other.source, other.reason)
        return same and not other.lifted and self.is_active(now) and _later(self.until, other.until) == self.until


def latest_entries(entries: Iterable[Suppression]) -> tuple[Suppression, ...]:
    """Return the last entry of each number, application and scope; they come oldest first.

    An entry that follows an active one does not shorten it: the later of their ends counts.
    """
    last: dict[tuple[str, str, SuppressionScope], Suppression] = {}
    for entry in entries:
        before = last.get(entry.about)
        goes_on = before is not None and not before.lifted and not entry.lifted
        last[entry.about] = replace(entry, until=_later(before.until, entry.until)) if before and goes_on else entry
    return tuple(last.values())


def _later(first: int | None, second: int | None) -> int | None:
    """Return the later of two ends, of which ``None`` is never."""
    return None if first is None or second is None else max(first, second)


def is_suppressed(entries: Iterable[Suppression], now: int) -> bool:
    """Tell whether entries, oldest first, suppress a number at ``now`` (milliseconds since the epoch).

    Freezes do not count: see `active_freezes`.
    """
    return any(entry.scope is SuppressionScope.ALL and entry.is_active(now) for entry in latest_entries(entries))


def active_freezes(entries: Iterable[Suppression]) -> tuple[Suppression, ...]:
    """Return the entries (oldest first) that freeze a number and that no later entry lifts."""
    active: list[Suppression] = []
    for entry in entries:
        if entry.scope is SuppressionScope.FROZEN:
            others = [earlier for earlier in active if earlier.about != entry.about]
            active = others if entry.lifted else [*active, entry]
    return tuple(active)


def active_suppressions(entries: Sequence[Suppression], now: int) -> tuple[Suppression, ...]:
    """Return the entries (oldest first) that block codes at ``now``, the last of each application and scope."""
    latest = latest_entries(entries)
    others = (entry for entry in latest if entry.scope is SuppressionScope.ALL and entry.is_active(now))
    return tuple({entry.about: entry for entry in (*active_freezes(entries), *others)}.values())


@dataclass(frozen=True, slots=True)
class LedgerPosition:
    """A point in the history of a ledger: how far the ledger, or its mirror, has come."""

    identity: str
    """Random name of the ledger."""
    sequence: int
    """Number of the last change that the mirror has to know."""
    entry: int
    """Number of that change's entry in the audit chain; 0 before the first change."""
    link: str
    """That entry's link: it names everything that was recorded until then, so no other history has it."""


@dataclass(frozen=True, slots=True)
class NumberState:
    """A number's state, as it was when the ledger had come to a certain change."""

    pseudonym: str
    suppressed: Mapping[str, int | None]
    """By application (`EVERY_APPLICATION` for all): until when, in milliseconds since the epoch; ``None``
    for ever. Only suppressions that keep codes back, without freezes."""
    consents: Mapping[tuple[str, str], tuple[bool, int, int]]
    """By application and purpose: whether it is given, from which place of the ledger on that counts, and after which
    time a consent has to be given to be newer."""
    frozen: frozenset[str] = frozenset()
    """The applications that it is frozen for (`EVERY_APPLICATION` for all)."""
    lifted: Mapping[str, int] = field(default_factory=dict)
    """The applications of which a freeze was lifted recently (`EVERY_APPLICATION` for all): at which place of
    the ledger. What was started before that stays ended."""
    erased: Mapping[str, int] = field(default_factory=dict)
    """The applications within which it was erased recently (`EVERY_APPLICATION` for all): at which place of the ledger.
    What was started or approved before that is not valid any more."""
    factors: Mapping[str, str] = field(default_factory=dict)
    """Of a user, who is mirrored as a number is: active factors by id, packed (`SealedFactor`)."""


@dataclass(frozen=True, slots=True)
class MirrorChanges:
    """The numbers that changed between two places of a ledger, in their present state."""

    after: LedgerPosition
    reached: LedgerPosition
    read_at: int
    """Number of the ledger's last change when the states were read."""
    numbers: tuple[NumberState, ...]
