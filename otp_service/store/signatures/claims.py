"""Signatures of the scripts that claim or read the basis of a start or check in another bucket."""

from typing import NamedTuple

from otp_service.store.signatures.common import EvidenceKeys, MirrorBehind, StepUp
from otp_service.store.signatures.signature import Signature


class EvidenceClaimArguments(NamedTuple):
    application: str
    by: str
    """Name of the claim: a verification, or a check."""
    ends: int
    """When the approval is too old: milliseconds since the epoch."""
    reserves: int
    """Whether the approval is only reserved, 1 or 0."""


class EvidenceClaimed(NamedTuple):
    """The position in the ledger of the last lift or erasure before the approval, and its basis."""

    lifted: int
    basis: bytes


EVIDENCE_CLAIM = Signature[EvidenceKeys, EvidenceClaimArguments, EvidenceClaimed | StepUp | MirrorBehind](
    "evidence_claim"
)


class ReleaseArguments(NamedTuple):
    by: str


class EvidenceReleaseKeys(NamedTuple):
    evidence: str


EVIDENCE_RELEASE = Signature[EvidenceReleaseKeys, ReleaseArguments, bytes]("evidence_release")


class RevocationReadKeys(NamedTuple):
    mirror: str


class RevocationReadArguments(NamedTuple):
    application: str
    lifted: int
    """Position in the ledger of the last lift or erasure before it."""
    basis: str
    """Lines of its basis in this bucket."""


REVOCATION_READ = Signature[RevocationReadKeys, RevocationReadArguments, bytes]("revocation_read")
"""Returns ``valid``, ``frozen``, ``erased``, ``removed`` or ``mirror-behind``."""


class UserClaimKeys(NamedTuple):
    mirror: str
    mirrored: str
    verifications: str
    """The last verifications that name the user."""


class UserClaimArguments(NamedTuple):
    application: str
    verification: str
    life: int
    """Milliseconds for which the last verifications are kept."""


class UserClaimed(NamedTuple):
    """A freeze of the user ends the start from now on."""

    lifted: int
    """Position in the ledger of the last lift or erasure; 0 for none."""


class UserFrozen(NamedTuple):
    """No start may name the user."""


USER_CLAIM = Signature[UserClaimKeys, UserClaimArguments, UserClaimed | UserFrozen | MirrorBehind]("user_claim")


class UserReleaseKeys(NamedTuple):
    verifications: str


USER_RELEASE = Signature[UserReleaseKeys, ReleaseArguments, int]("user_release")
