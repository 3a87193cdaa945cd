"""What Redis mirrors of the ledger: the state of each number, and how far it has come."""

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    """The applications of which a freeze was lifted lately (`EVERY_APPLICATION` for all): at which place of
    the ledger. What was started before that stays ended."""


@dataclass(frozen=True, slots=True)
class MirrorChanges:
    """The numbers that changed between two places of a ledger, in their present state."""

    after: LedgerPosition
    upto: LedgerPosition
    read_at: int
    """Number of the ledger's last change when the states were read."""
    numbers: tuple[NumberState, ...]
