"""Signatures of the scripts of the mirror of the ledger, and of the fence."""

from typing import NamedTuple

from otp_service.store.signatures.signature import NoArguments, Signature


class HeadsKeys(NamedTuple):
    """Heads of the mirror."""

    rest: tuple[str, ...]


class MirrorWriteKeys(NamedTuple):
    """Heads of the mirror, as many keys of builders, then entries of numbers."""

    rest: tuple[str, ...]


class MirrorWriteArguments(NamedTuple):
    """Changes between two places in the ledger."""

    builder: str
    """Empty where the mirror is built."""
    heads: int
    """Their number."""
    identity: str
    """Of the ledger."""
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


MIRROR_WRITE = Signature("mirror_write", MirrorWriteKeys, MirrorWriteArguments, int)
"""Returns 1; 0 where some heads are at another place, or, with nothing written, all are, or another process builds."""


class MirrorBuildKeys(NamedTuple):
    """Heads of the mirror, as many keys of builders, then keys to delete."""

    rest: tuple[str, ...]


class MirrorBuildArguments(NamedTuple):
    """A builder's turn, and the place in the ledger that the mirror is built of; empty before it is."""

    builder: str
    heads: int
    """Their number."""
    life: int
    """Milliseconds of the turn; 0 ends it."""
    identity: str = ""
    sequence: int | str = ""
    entry: int | str = ""
    link: str = ""


MIRROR_BUILD = Signature("mirror_build", MirrorBuildKeys, MirrorBuildArguments, int)
"""Returns 1, or 0 where another builder has the turn."""


class MirrorKnown(NamedTuple):
    """Of each head its identity, sequence, entry and link.

    Nothing where it is closed, or was not seen at the ledger's place since the server started.
    """

    places: list[list[bytes]]


MIRROR_KNOWN = Signature("mirror_known", HeadsKeys, NoArguments, MirrorKnown)


class MirrorVouchArguments(NamedTuple):
    """The fence behind which the store was restored."""

    fence: int


MIRROR_VOUCH = Signature("mirror_vouch", HeadsKeys, MirrorVouchArguments, type(None))


class ServerNoteArguments(NamedTuple):
    """Whether the mirror was just seen at the ledger's place, 1 or 0."""

    is_current: int


SERVER_NOTE = Signature("server_note", HeadsKeys, ServerNoteArguments, type(None))


class MirrorAllowsKeys(NamedTuple):
    """A verification."""

    record: str
    mirror: str
    """Its head."""


class MirrorAllowsArguments(NamedTuple):
    """A message of a verification."""

    application: str
    identity: str
    """Of the ledger."""
    min_sequence: int
    """Place in it that the mirror must have reached."""
    consent: str
    """``recorded`` or ``off``: which consent is needed."""
    mirrored: str
    """Beginning of the keys of the mirror's entries for numbers."""


MIRROR_ALLOWS = Signature("mirror_allows", MirrorAllowsKeys, MirrorAllowsArguments, int)
"""Returns 1; 0 where the mirror refuses, is behind, or there is no such verification."""


class FencePutKeys(NamedTuple):
    """Fences; then heads of the mirror to close, where the store was restored from a copy."""

    rest: tuple[str, ...]


class FencePutArguments(NamedTuple):
    """A new fence."""

    life: int
    """Milliseconds."""
    fences: int
    """Their number."""


FENCE_PUT = Signature("fence_put", FencePutKeys, FencePutArguments, int)
"""Returns the fence's name: its time in milliseconds since the epoch."""


class ReadinessKeys(NamedTuple):
    """The mirror's head and the events of each bucket in turn."""

    rest: tuple[str, ...]


class ReadinessArguments(NamedTuple):
    """When starts are refused."""

    identity: str
    """Of the ledger."""
    min_sequence: int
    """Place in it that the mirror must have reached."""
    max_events: int
    """Events that may wait to be recorded."""


class Ready(NamedTuple):
    """Starts are possible in one of the buckets."""


class Unavailable(NamedTuple):
    """Why every start is refused."""

    reason: bytes


STARTS_READINESS: Signature[ReadinessKeys, ReadinessArguments, Ready | Unavailable] = Signature(
    "starts_readiness", ReadinessKeys, ReadinessArguments, Ready, Unavailable
)
