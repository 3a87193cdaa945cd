"""Signatures of the scripts that change and read verifications. All times are milliseconds."""

from typing import NamedTuple

from otp_service.store.signatures.common import (
    AlreadyFinal,
    Elsewhere,
    KeyList,
    MirrorBehind,
    Mismatch,
    NotFound,
    NumberKeys,
    RecordKeys,
    StepUp,
    VerificationKeys,
)
from otp_service.store.signatures.signature import NoArguments, Signature


class VerificationRead(NamedTuple):
    """The time in milliseconds, and the fields of a record: names and values in turn, empty where it is gone."""

    now: int
    record: list[bytes]


VERIFICATION_READ = Signature[RecordKeys, NoArguments, VerificationRead]("verification_read")


class ApprovalReadArguments(NamedTuple):
    mirrored: str


class ApprovalRead(NamedTuple):
    """A verification as `VerificationRead` has it, and whether its approval was revoked, 1 or 0."""

    now: int
    record: list[bytes]
    revoked: int
    elsewhere: bytes
    """The approval's basis in other buckets, as in `Elsewhere`."""
    lifted: int


APPROVAL_READ = Signature[VerificationKeys, ApprovalReadArguments, ApprovalRead | MirrorBehind]("approval_read")


class VerificationFindArguments(NamedTuple):
    application: str
    purpose: str
    records: str


class VerificationFound(NamedTuple):
    now: int
    id: bytes
    record: list[bytes]


VERIFICATION_FIND = Signature[NumberKeys, VerificationFindArguments, VerificationFound | NotFound]("verification_find")


class StartKeys(NamedTuple):
    record: str
    queue: str
    queues: str
    ready: str
    wake: str
    events: str
    idempotency: str
    decisions: str
    mirror: str
    mirrored: str
    rest: tuple[str, ...]
    """In this bucket: the mirror's entry for the user, and the user's last verifications; the evidence of an earlier
    approval. Then the states of number, application, country and block; of address, /48 and /32."""


class StartArguments(NamedTuple):
    """A verification; the plan (`CompiledPlan`) has the values that starts share."""

    id: str
    fingerprint: str
    locale: str
    attempt: str
    """`SendAttempt.encoded`."""
    tag: str
    """Of the code."""
    transaction: str
    destination: bytes
    """Sealed, as mask and details."""
    mask: bytes
    details: bytes
    record_only_rules: str
    """Record-only rules that would have refused before, with blanks between."""
    identity: str
    min_sequence: int
    consent: str
    """The start's own consent as JSON, or empty."""
    payment: str
    payment_reference: str
    trace: str
    allowed_pending: str
    """Allowed pending verifications of the number and purpose: ``*``, empty for none, or an identifier."""
    further: int
    """Which keys come before the number's: 2 for the user's, and 1 for the evidence."""
    earlier_ends: int | str
    request: str
    claimed: str
    rest: tuple[str, ...] = ()
    """Any value for the last try: the answer is not `ShareNeeded`."""


class Started(NamedTuple):
    now: int
    quota_max: int
    quota_used: int
    quota_reset: int
    record_only_rules: bytes
    to_sum: bytes = b""


class Replayed(NamedTuple):
    """The first start with the idempotency key."""

    now: int
    remembered: list[bytes]
    record: list[bytes]


class Pending(NamedTuple):
    id: bytes


class Refused(NamedTuple):
    """A rule of the guard refuses the message."""

    decision: bytes
    rule: bytes
    wait: int
    quota_max: int
    quota_used: int
    quota_reset: int
    to_sum: bytes = b""


class HumanCheckRequired(NamedTuple):
    """A rule of the guard lets the start pass after a human check, or after a wait."""

    decision: bytes
    rule: bytes
    wait: int
    to_sum: bytes = b""


class Withheld(NamedTuple):
    """The mirror refuses the message."""

    reason: bytes


class EventsFull(NamedTuple):
    """Too many events wait to be recorded."""


class BacklogFull(NamedTuple):
    """The message would wait too long."""


class ShareNeeded(NamedTuple):
    """The bucket's share of a ceiling is too small for this price; other buckets may have more."""

    price: int


SpendingRefusal = Refused | Mismatch | Withheld | EventsFull | BacklogFull | ShareNeeded
StartRefusal = SpendingRefusal | HumanCheckRequired | StepUp
START = Signature[StartKeys, StartArguments, Started | Replayed | Pending | StartRefusal]("start")


class ResendKeys(NamedTuple):
    record: str
    queue: str
    queues: str
    ready: str
    wake: str
    events: str
    idempotency: str
    decisions: str
    mirror: str
    mirrored: str
    number: str
    application: str
    country: str
    block: str


class ResendArguments(NamedTuple):
    application: str
    fingerprint: str
    channel: str
    generation: int
    next_tag: str
    """Of the next generation of the code; empty for the same code."""
    max_queue: int
    max_events: int
    max_age: int
    max_decisions: int
    price: int
    """The highest cost of the message, in millionths."""
    falls_back_from: int
    """Number of the replaced message, whose replacement has no delay; otherwise 0."""
    identity: str
    min_sequence: int
    consent: str
    trace: str
    after_dispatch: int
    """Number of the replaced message's last call; otherwise 0."""
    request: str
    elsewhere: str = ""
    rest: tuple[str, ...] = ()
    """Any value for the last try: the answer is not `ShareNeeded`."""


class Queued(NamedTuple):
    """Another message was queued. For a repeated request the quota fields are 0."""

    now: int
    record: list[bytes]
    quota_max: int
    quota_used: int
    quota_reset: int
    record_only_rules: bytes
    to_sum: bytes = b""


class NoSendsLeft(NamedTuple):
    """All messages of the verification were sent."""


class TooSoon(NamedTuple):
    """The delay of the resend is not over."""

    wait: int


class Conflict(NamedTuple):
    """Another message was sent meanwhile, or the replaced message arrived."""


ResendRefusal = SpendingRefusal | NotFound | AlreadyFinal | NoSendsLeft | TooSoon | Conflict
RESEND = Signature[ResendKeys, ResendArguments, Queued | Elsewhere | ResendRefusal]("resend")


class CheckKeys(NamedTuple):
    record: str
    events: str
    idempotency: str
    decisions: str
    evidence: str
    mirror: str
    application: str


class CheckArguments(NamedTuple):
    application: str
    tag: str
    code_length: int
    transaction: str
    fingerprint: str
    max_age: int
    max_decisions: int
    numbers: str
    mirrored: str
    with_record: int
    """Whether an approval is answered with the record, 1 or 0."""
    pseudonym: str
    """Of the only accepted number, or empty."""
    evidence_lives: str
    """Life of an approval as evidence, by purpose, with ``''`` for any other, as JSON; or empty."""
    request: str
    elsewhere: str


class Checked(NamedTuple):
    status: bytes
    reason: bytes
    """Why the code was refused; empty for an approval."""
    checks_left: int
    at: int
    alarm: int
    """Whether the check raised the application's alarm, 1 or 0."""
    record: list[bytes]


class NumberMismatch(NamedTuple):
    """The verification is of another number."""


class WrongLength(NamedTuple):
    """Codes of the purpose have another length."""

    code_length: int


class TransactionMissing(NamedTuple):
    """The verification has a transaction, the check has none."""


class TransactionUnwanted(NamedTuple):
    """The check has a transaction, the verification has none."""


CheckRefusal = (
    NotFound | Mismatch | MirrorBehind | NumberMismatch | WrongLength | TransactionMissing | TransactionUnwanted
)
CHECK = Signature[CheckKeys, CheckArguments, Checked | Elsewhere | CheckRefusal]("check")


class CancelKeys(NamedTuple):
    record: str
    events: str
    idempotency: str


class CancelArguments(NamedTuple):
    application: str
    fingerprint: str
    reason: str
    """``frozen``; empty for the application."""
    request: str


class Canceled(NamedTuple):
    now: int
    record: list[bytes]


CANCEL = Signature[CancelKeys, CancelArguments, Canceled | NotFound | Mismatch | AlreadyFinal]("cancel")


class GuardRollBackArguments(NamedTuple):
    application: str
    rest: tuple[int, ...]
    """For each record, whether its number was known before, 1 or 0."""


GUARD_ROLL_BACK = Signature[KeyList, GuardRollBackArguments, int]("guard_roll_back")
"""Keys: records of an application. Returns how many approvals were rolled back now."""
