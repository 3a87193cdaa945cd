"""Keys and replies that several scripts share."""

from typing import NamedTuple


class RecordKeys(NamedTuple):
    """The record of a verification."""

    record: str


class NotFound(NamedTuple):
    """Not there, or of another application."""


class Mismatch(NamedTuple):
    """The idempotency key was used with another request."""


class MirrorBehind(NamedTuple):
    """The mirror of the ledger is built, or behind: what the ledger says is not known now."""


class Frozen(NamedTuple):
    """The number or user is frozen."""


class StepUp(NamedTuple):
    """The earlier approval that the purpose needs is too old, was used or revoked."""


class AlreadyFinal(NamedTuple):
    """The verification has ended in this status."""

    status: bytes


class Elsewhere(NamedTuple):
    """Nothing was done: an approval rests on numbers or users of other buckets, to be read there first."""

    basis: bytes
    """What it rests on: lines of keys."""
    lifted: int
    """Position in the ledger of the last lift or erasure before it."""
