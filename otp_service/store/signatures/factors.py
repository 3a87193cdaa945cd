"""Signatures of the scripts of authenticator apps and recovery codes."""

from typing import NamedTuple

from otp_service.store.signatures.common import Frozen, MirrorBehind, Mismatch, NotFound, StepUp
from otp_service.store.signatures.signature import Signature


class FactorReadKeys(NamedTuple):
    mirrored: str
    enrolment: str


class FactorReadArguments(NamedTuple):
    factor: str


class FactorRead(NamedTuple):
    """The active factor and the enrolled one, packed, and the sealed label of the enrolled one."""

    now: int
    active: bytes | None
    pending: bytes | None = None
    label: bytes | None = None


FACTOR_READ = Signature[FactorReadKeys, FactorReadArguments, FactorRead]("factor_read")


class FactorEnrolKeys(NamedTuple):
    enrolment: str
    idempotency: str
    """The enrolment again without an idempotency key."""
    of_user: str
    """The enrolments of the user that wait for their first code."""
    of_application: str
    mirrored: str


class FactorEnrolArguments(NamedTuple):
    """A factor. Times in milliseconds."""

    packed: str
    label: str
    """Sealed."""
    life: int
    """Of the enrolment."""
    fingerprint: str
    remembered: int
    factor: str
    max_of_user: int
    max_of_application: int
    application: str


class Enrolled(NamedTuple):
    """The enrolment waits for its first code."""


class EnrolReplayed(NamedTuple):
    """The factor that the first request with the idempotency key enrolled."""

    factor: bytes


class EnrolmentsFull(NamedTuple):
    """Too many enrolments of the user or the application wait."""

    wait: int
    owner: bytes
    """``user`` or ``application``."""


FACTOR_ENROL = Signature[FactorEnrolKeys, FactorEnrolArguments, Enrolled | EnrolReplayed | EnrolmentsFull | Mismatch](
    "factor_enrol"
)


class FactorCheckKeys(NamedTuple):
    user: str
    mirrored: str
    mirror: str
    step: str
    events: str
    idempotency: str
    """The last step again without an idempotency key."""
    rest: tuple[str, ...]
    """Evidence of an earlier approval, where the purpose needs it and it was not claimed before."""


class FactorCheckArguments(NamedTuple):
    """A code of a factor. Times in milliseconds."""

    application: str
    factor: str
    identity: str
    min_sequence: int
    late: int
    """Steps that a code may come late."""
    early: int
    life: int
    """Of a code, at most."""
    grace: int
    """Life of the last step after its code."""
    device: str
    purpose: str
    fingerprint: str
    remembered: int
    evidence: str
    evidence_life: int
    earlier_ends: int | str
    claimed: str
    rest: tuple[int, ...]
    """The steps whose code was typed, the oldest first."""


class CodeChecked(NamedTuple):
    """Why a code was refused, empty where it was accepted; when; and the seed of new recovery codes."""

    reason: bytes
    at: int
    seed: bytes = b""
    elsewhere: bytes = b""
    """The basis of a repeated request's approval in other buckets, as in `Elsewhere`."""
    lifted: int = 0


class Settling(NamedTuple):
    """Redis was emptied or replaced: codes that were used before may still be valid for ``wait`` milliseconds."""

    wait: int


CodeRefusal = NotFound | Mismatch | MirrorBehind | Frozen | StepUp
FACTOR_CHECK = Signature[FactorCheckKeys, FactorCheckArguments, CodeChecked | Settling | CodeRefusal]("factor_check")


class UserGuessKeys(NamedTuple):
    user: str
    mirrored: str
    mirror: str
    events: str
    idempotency: str
    """The user again without an idempotency key."""
    enrolment: str
    """Of a first code; otherwise the user again."""
    rest: tuple[str, ...]
    """Evidence of an earlier approval, where the purpose needs it and it was not claimed before."""


class UserGuessArguments(NamedTuple):
    """A code that was compared elsewhere. Times in milliseconds."""

    application: str
    id: str
    """Of the factor, or the user's."""
    identity: str
    min_sequence: int
    device: str
    result: str
    """``right``; ``first``, a right first code, which ends no row of wrong ones; ``wrong_code``; ``code_used``, which
    counts as no guess; ``repeated``, where only an earlier answer counts; empty where it is not compared yet."""
    event: str
    """Its type; empty for none."""
    evidence: str
    evidence_life: int
    """0 without proofs."""
    earlier_ends: int | str
    claimed: str
    fingerprint: str
    remembered: int
    seed: str
    """Of new recovery codes."""
    step: int
    """Of a first code, else 0."""


USER_GUESS = Signature[UserGuessKeys, UserGuessArguments, CodeChecked | CodeRefusal]("user_guess")


class FactorStepsResetKeys(NamedTuple):
    """The mirror's head, and last steps that were taken."""

    mirror: str
    rest: tuple[str, ...]


class FactorStepsResetArguments(NamedTuple):
    """Of each step its period in seconds, and how many steps a code may come early."""

    life: int
    """Milliseconds for which a step is stored."""
    rest: tuple[int, ...]


FACTOR_STEPS_RESET = Signature[FactorStepsResetKeys, FactorStepsResetArguments, int]("factor_steps_reset")
"""Returns how many times were lowered."""
