"""Signatures of the scripts that change and read verifications."""

from typing import NamedTuple

from otp_service.store.signatures.common import MirrorBehind, RecordKeys
from otp_service.store.signatures.signature import NoArguments, Signature


class VerificationRead(NamedTuple):
    """The time in milliseconds, and the fields of a record: names and values in turn, empty where it is gone."""

    now: int
    record: list[bytes]


VERIFICATION_READ = Signature("verification_read", RecordKeys, NoArguments, VerificationRead)


class ApprovalReadKeys(NamedTuple):
    """The record of an approved verification."""

    record: str
    mirror: str
    """Its head."""


class ApprovalReadArguments(NamedTuple):
    """Beginning of the keys of the mirror's entries for numbers."""

    mirrored: str


class ApprovalRead(NamedTuple):
    """A verification as `VerificationRead` has it, and whether its approval was revoked, 1 or 0."""

    now: int
    record: list[bytes]
    revoked: int


APPROVAL_READ: Signature[ApprovalReadKeys, ApprovalReadArguments, ApprovalRead | MirrorBehind] = Signature(
    "approval_read", ApprovalReadKeys, ApprovalReadArguments, ApprovalRead, MirrorBehind
)
