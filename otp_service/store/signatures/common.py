"""Keys and replies that several scripts share.

These names mean the same in every signature:

claimed         What was claimed in other buckets (`Claims.argument`); or empty.
consent         ``recorded`` or ``off``: which consent is needed.
device          Empty where it is not known.
earlier_ends    When the earlier approval is too old; empty where the purpose needs none.
elsewhere       What `revocation` returned of other buckets; empty before.
fingerprint     Of the idempotent request; empty without one.
idempotency     The record again without an idempotency key.
identity        Of the ledger.
life            Milliseconds, as every time.
max_age         Of decisions.
max_events      Events that may wait to be recorded.
min_sequence    Place in the ledger that the mirror must have reached.
mirror          The head of the bucket's mirror.
mirrored        The mirror's entry for the number or user; as an argument, the beginning of such keys of numbers.
ready           Names of the queues that may have new jobs.
record          Of a verification; in a reply its fields, names and values in turn.
to_sum          ``application`` and ``address``, if a worker is to sum their windows over the buckets.
trace           The ``traceparent`` of the message or dispatch; or empty.
transaction     Digest; empty without one.
"""

from typing import NamedTuple


class KeyList(NamedTuple):
    """Keys of any number, which the signature describes."""

    rest: tuple[str, ...]


class RecordKeys(NamedTuple):
    record: str


class VerificationKeys(NamedTuple):
    record: str
    mirror: str


class EvidenceKeys(NamedTuple):
    evidence: str
    mirror: str


class NumberKeys(NamedTuple):
    number: str
    """The state of a number, or of an application's user."""


class NotFound(NamedTuple):
    """Not there, or of another application."""


class Mismatch(NamedTuple):
    """The idempotency key was used with another request."""


class MirrorBehind(NamedTuple):
    """The mirror of the ledger is being built, or behind."""


class Frozen(NamedTuple):
    """The number or user is frozen."""


class StepUp(NamedTuple):
    """The earlier approval that the purpose needs is too old, was used or revoked."""


class AlreadyFinal(NamedTuple):
    """The verification has ended in this status."""

    status: bytes


class Elsewhere(NamedTuple):
    """Nothing was done: an approval rests on numbers or users of other buckets, which must be read first."""

    basis: bytes
    """The approval's basis: lines of keys."""
    lifted: int
    """Position in the ledger of the last lift or erasure before it."""
