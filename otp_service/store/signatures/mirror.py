"""Signatures of the scripts of the mirror of the ledger, and of the fence."""

from typing import NamedTuple

from otp_service.store.signatures.common import VerificationKeys
from otp_service.store.signatures.signature import NoArguments, Signature


class HeadsKeys(NamedTuple):
    rest: tuple[str, ...]


class MirrorWriteKeys(NamedTuple):
    """Heads of the mirror, as many keys of builders, then entries of numbers."""

    rest: tuple[str, ...]


class MirrorWriteArguments(NamedTuple):
    builder: str
    """Empty where the mirror is built."""
    heads: int
    identity: str
    after: str
    """Link of the place after which the changes come: no other place has it."""
    sequence: int
    """Of the place that they lead to."""
    entry: int
    link: str
    read_at: int
    """Number of the ledger's last change when the states were read."""
    grace: int
    """Milliseconds for which the entry of a number outlives what holds for it."""
    rest: tuple[str, ...]
    """The fields of each number, as JSON."""


MIRROR_WRITE = Signature[MirrorWriteKeys, MirrorWriteArguments, int]("mirror_write")
"""Returns 1; 0 where some heads are at another place, or, with nothing written, all are, or another process builds."""


class MirrorBuildKeys(NamedTuple):
    """Heads of the mirror, as many keys of builders, then keys to delete."""

    rest: tuple[str, ...]


class MirrorBuildArguments(NamedTuple):
    builder: str
    heads: int
    life: int
    """Milliseconds of the turn; 0 ends it."""
    identity: str = ""
    sequence: int | str = ""
    entry: int | str = ""
    link: str = ""


MIRROR_BUILD = Signature[MirrorBuildKeys, MirrorBuildArguments, int]("mirror_build")
"""Returns 1, or 0 where another builder has the turn."""


class MirrorKnown(NamedTuple):
    """Of each head its identity, sequence, entry and link.

    Nothing where it is closed, or was not seen at the ledger's place since the server started.
    """

    places: list[list[bytes]]


MIRROR_KNOWN = Signature[HeadsKeys, NoArguments, MirrorKnown]("mirror_known")


class MirrorVouchArguments(NamedTuple):
    fence: int


MIRROR_VOUCH = Signature[HeadsKeys, MirrorVouchArguments, None]("mirror_vouch")


class ServerNoteArguments(NamedTuple):
    """Whether the mirror was just seen at the ledger's place, 1 or 0."""

    is_current: int


SERVER_NOTE = Signature[HeadsKeys, ServerNoteArguments, None]("server_note")


class MirrorAllowsArguments(NamedTuple):
    application: str
    identity: str
    min_sequence: int
    consent: str
    mirrored: str


MIRROR_ALLOWS = Signature[VerificationKeys, MirrorAllowsArguments, int]("mirror_allows")
"""Returns 1; 0 where the mirror refuses, is behind, or there is no such verification."""


class FencePutKeys(NamedTuple):
    """Fences; then heads of the mirror to close, where the store was restored from a copy."""

    rest: tuple[str, ...]


class FencePutArguments(NamedTuple):
    life: int
    """Milliseconds."""
    fences: int


FENCE_PUT = Signature[FencePutKeys, FencePutArguments, int]("fence_put")
"""Returns the fence's name: its time in milliseconds since the epoch."""


class ReadinessKeys(NamedTuple):
    """The mirror's head and the events of each bucket in turn."""

    rest: tuple[str, ...]


class ReadinessArguments(NamedTuple):
    identity: str
    min_sequence: int
    max_events: int


class Ready(NamedTuple):
    """Starts are possible in one of the buckets."""


class Unavailable(NamedTuple):
    """Why every start is refused."""

    reason: bytes


STARTS_READINESS = Signature[ReadinessKeys, ReadinessArguments, Ready | Unavailable]("starts_readiness")
