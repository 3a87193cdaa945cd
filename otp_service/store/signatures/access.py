"""Signatures of the scripts that keep and read the copy of who may call."""

from typing import NamedTuple

from otp_service.store.signatures.signature import NoArguments, Signature


class AccessKeys(NamedTuple):
    copy: str


class AccessKeepArguments(NamedTuple):
    """A state of the ledger, and the copy of it, sealed; empty to ask whether it is there."""

    state: str
    sealed: str


ACCESS_KEEP = Signature[AccessKeys, AccessKeepArguments, int]("access_keep")
"""Returns 1 where the copy is of this state now."""
ACCESS_READ = Signature[AccessKeys, NoArguments, bytes | None]("access_read")
"""Returns the sealed copy; nothing where it was written in another run of the server."""
