"""Signatures of the scripts that claim or read what a start or a check in another bucket rests on."""

from typing import NamedTuple

from otp_service.store.signatures.common import MirrorBehind, StepUp
from otp_service.store.signatures.signature import Signature


class EvidenceKeys(NamedTuple):
    """The evidence of an approval."""

    evidence: str
    mirror: str
    """Its head."""


class EvidenceClaimArguments(NamedTuple):
    """The start or check that uses an approval."""

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


EVIDENCE_CLAIM: Signature[EvidenceKeys, EvidenceClaimArguments, EvidenceClaimed | StepUp | MirrorBehind] = Signature(
    "evidence_claim", EvidenceKeys, EvidenceClaimArguments, EvidenceClaimed, StepUp, MirrorBehind
)


class ReleaseArguments(NamedTuple):
    """The start or check that was refused."""

    by: str


class EvidenceReleaseKeys(NamedTuple):
    """The evidence of an approval."""

    evidence: str


EVIDENCE_RELEASE = Signature("evidence_release", EvidenceReleaseKeys, ReleaseArguments, bytes)


class RevocationReadKeys(NamedTuple):
    """A bucket."""

    mirror: str
    """Its head."""


class RevocationReadArguments(NamedTuple):
    """An approval."""

    application: str
    lifted: int
    """Position in the ledger of the last lift or erasure before it."""
    basis: str
    """Lines of its basis that are of this bucket."""


REVOCATION_READ = Signature("revocation_read", RevocationReadKeys, RevocationReadArguments, bytes)
"""Returns ``valid``, ``frozen``, ``erased``, ``removed`` or ``mirror-behind``."""


class UserClaimKeys(NamedTuple):
    """What is known of a user."""

    mirror: str
    """Its head."""
    mirrored: str
    verifications: str
    """The last ones that name the user."""


class UserClaimArguments(NamedTuple):
    """The start that names a user."""

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


USER_CLAIM: Signature[UserClaimKeys, UserClaimArguments, UserClaimed | UserFrozen | MirrorBehind] = Signature(
    "user_claim", UserClaimKeys, UserClaimArguments, UserClaimed, UserFrozen, MirrorBehind
)


class UserReleaseKeys(NamedTuple):
    """The last verifications that name a user."""

    verifications: str


USER_RELEASE = Signature("user_release", UserReleaseKeys, ReleaseArguments, int)
