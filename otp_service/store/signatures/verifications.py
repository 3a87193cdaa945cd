"""Signatures of the scripts that change and read verifications. All times are milliseconds."""

from typing import NamedTuple

from otp_service.store.signatures.common import (
    AlreadyFinal,
    Elsewhere,
    MirrorBehind,
    Mismatch,
    NotFound,
    RecordKeys,
    StepUp,
)
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
    elsewhere: bytes
    """What the approval rests on in other buckets, as `Elsewhere` has it."""
    lifted: int


APPROVAL_READ: Signature[ApprovalReadKeys, ApprovalReadArguments, ApprovalRead | MirrorBehind] = Signature(
    "approval_read", ApprovalReadKeys, ApprovalReadArguments, ApprovalRead, MirrorBehind
)


class VerificationFindKeys(NamedTuple):
    """The state of a number."""

    number: str


class VerificationFindArguments(NamedTuple):
    """Which verification of a number."""

    application: str
    purpose: str
    records: str
    """Beginning of the keys of records."""


class VerificationFound(NamedTuple):
    """The newest verification of a number for a purpose."""

    now: int
    id: bytes
    record: list[bytes]


VERIFICATION_FIND: Signature[VerificationFindKeys, VerificationFindArguments, VerificationFound | NotFound] = Signature(
    "verification_find", VerificationFindKeys, VerificationFindArguments, VerificationFound, NotFound
)


class StartKeys(NamedTuple):
    """A verification, its number and its bucket."""

    record: str
    queue: str
    queues: str
    ready: str
    """Names of the queues that may have new jobs."""
    wake: str
    events: str
    idempotency: str
    """The record again without an idempotency key."""
    decisions: str
    mirror: str
    """Its head."""
    mirrored: str
    """The mirror's entry for the number."""
    rest: tuple[str, ...]
    """In this bucket: the mirror's entry for the user, and the user's last verifications; the evidence of an earlier
    approval. Then the states of number, application, country and block; of address, /48 and /32."""


class StartArguments(NamedTuple):
    """A verification. What starts have in common is in the plan (`CompiledPlan`)."""

    id: str
    fingerprint: str
    """Of the idempotent request; empty without one."""
    locale: str
    attempt: str
    """`SendAttempt.encoded`."""
    tag: str
    """Of the code."""
    transaction: str
    """Digest; empty without one."""
    destination: bytes
    """Sealed, as mask and details."""
    mask: bytes
    details: bytes
    record_only_rules: str
    """Rules that only record, and would have refused before; with blanks between."""
    identity: str
    """Of the ledger."""
    min_sequence: int
    """Place in it that the mirror must have reached."""
    consent: str
    """That comes with the start, as JSON; or empty."""
    payment: str
    payment_reference: str
    trace: str
    """The ``traceparent`` of the message; or empty."""
    allowed_pending: str
    """What may be pending for the number and purpose: ``*``, empty for nothing, or an identifier."""
    further: int
    """Which keys come before the number's: 2 for the user's, and 1 for the evidence."""
    earlier_ends: int | str
    """When the earlier approval is too old; empty where the purpose needs none."""
    request: str
    claimed: str
    """What was claimed in other buckets (`Claims.argument`); or empty."""
    rest: tuple[str, ...] = ()
    """Any value for the last try: the answer is not `ShareNeeded`."""


class Started(NamedTuple):
    """A new verification."""

    now: int
    quota_max: int
    quota_used: int
    quota_reset: int
    record_only_rules: bytes
    to_sum: bytes = b""
    """``application`` and ``address``, if a worker is to sum their windows over the buckets."""


class Replayed(NamedTuple):
    """The first start with the idempotency key."""

    now: int
    remembered: list[bytes]
    record: list[bytes]


class Pending(NamedTuple):
    """Another verification is pending."""

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
    """As in `Started`."""


class HumanCheckRequired(NamedTuple):
    """A rule of the guard lets the start pass after a human check, or after a wait."""

    decision: bytes
    rule: bytes
    wait: int
    to_sum: bytes = b""
    """As in `Started`."""


class Withheld(NamedTuple):
    """The mirror refuses the message."""

    reason: bytes


class EventsFull(NamedTuple):
    """Too many events wait to be recorded."""


class BacklogFull(NamedTuple):
    """The message would wait too long."""


class ShareNeeded(NamedTuple):
    """Other buckets may have what the bucket lacks of a ceiling for a message of this price."""

    price: int


StartRefusal = Refused | HumanCheckRequired | Mismatch | Withheld | StepUp | EventsFull | BacklogFull | ShareNeeded
START: Signature[StartKeys, StartArguments, Started | Replayed | Pending | StartRefusal] = Signature(
    *("start", StartKeys, StartArguments),
    *(Started, Replayed, Pending, Refused, HumanCheckRequired, Mismatch, Withheld, StepUp, EventsFull, BacklogFull),
    ShareNeeded,
)


class ResendKeys(NamedTuple):
    """A verification, its number and its bucket."""

    record: str
    queue: str
    queues: str
    ready: str
    """Names of the queues that may have new jobs."""
    wake: str
    events: str
    idempotency: str
    """The record again without an idempotency key."""
    decisions: str
    mirror: str
    """Its head."""
    mirrored: str
    """The mirror's entry for the number."""
    number: str
    application: str
    country: str
    block: str


class ResendArguments(NamedTuple):
    """A further message."""

    application: str
    fingerprint: str
    """Of the idempotent request; empty without one."""
    channel: str
    generation: int
    """That the caller read."""
    next_tag: str
    """Of the next generation of the code; empty for the same code."""
    max_queue: int
    """Messages in the queue from which on none is accepted."""
    max_events: int
    """Events that may wait to be recorded."""
    max_age: int
    """Of decisions."""
    max_decisions: int
    price: int
    """The most that the message may cost, in millionths."""
    falls_back_from: int
    """Number of the message that it replaces, for which there is no delay; otherwise 0."""
    identity: str
    """Of the ledger."""
    min_sequence: int
    """Place in it that the mirror must have reached."""
    consent: str
    """``recorded`` or ``off``: which consent is needed."""
    trace: str
    """The ``traceparent`` of the message; or empty."""
    after_dispatch: int
    """Number of the replaced message's last call; otherwise 0."""
    request: str
    elsewhere: str = ""
    """What `revocation` returned of other buckets; empty before."""
    rest: tuple[str, ...] = ()
    """Any value for the last try: the answer is not `ShareNeeded`."""


class Queued(NamedTuple):
    """A further message waits; the quota is 0 for a repeated request."""

    now: int
    record: list[bytes]
    quota_max: int
    quota_used: int
    quota_reset: int
    record_only_rules: bytes
    to_sum: bytes = b""
    """As in `Started`."""


class NoSendsLeft(NamedTuple):
    """All messages of the verification were sent."""


class TooSoon(NamedTuple):
    """The delay of the resend is not over."""

    wait: int


class Conflict(NamedTuple):
    """Another message was sent meanwhile, or the replaced message arrived."""


ResendRefusal = (
    Refused
    | NotFound
    | Mismatch
    | AlreadyFinal
    | NoSendsLeft
    | TooSoon
    | Conflict
    | Withheld
    | EventsFull
    | BacklogFull
    | ShareNeeded
)
RESEND: Signature[ResendKeys, ResendArguments, Queued | Elsewhere | ResendRefusal] = Signature(
    *("resend", ResendKeys, ResendArguments),
    *(Queued, Elsewhere, Refused, NotFound, Mismatch, AlreadyFinal, NoSendsLeft, TooSoon, Conflict),
    *(Withheld, EventsFull, BacklogFull, ShareNeeded),
)


class CheckKeys(NamedTuple):
    """A verification."""

    record: str
    events: str
    idempotency: str
    """The record again without an idempotency key."""
    decisions: str
    evidence: str
    """Of the approval."""
    mirror: str
    """Its head."""
    application: str


class CheckArguments(NamedTuple):
    """A code as it was typed."""

    application: str
    tag: str
    code_length: int
    transaction: str
    """Digest; empty without one."""
    fingerprint: str
    """Of the idempotent request; empty without one."""
    max_age: int
    """Of decisions."""
    max_decisions: int
    numbers: str
    """Beginning of the keys of numbers."""
    mirrored: str
    """Beginning of the keys of the mirror's entries for numbers."""
    with_record: int
    """Whether an approval is answered with the record, 1 or 0."""
    pseudonym: str
    """Of the only number that is accepted; or empty."""
    evidence_lives: str
    """How long an approval is evidence, by purpose, and ``''`` for any other, as JSON; or empty."""
    request: str
    elsewhere: str
    """What `revocation` returned of other buckets; empty before."""


class Checked(NamedTuple):
    """The result of a check."""

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
CHECK: Signature[CheckKeys, CheckArguments, Checked | Elsewhere | CheckRefusal] = Signature(
    *("check", CheckKeys, CheckArguments),
    *(
        Checked,
        Elsewhere,
        NotFound,
        Mismatch,
        MirrorBehind,
        NumberMismatch,
        WrongLength,
        TransactionMissing,
        TransactionUnwanted,
    ),
)


class CancelKeys(NamedTuple):
    """A verification."""

    record: str
    events: str
    idempotency: str
    """The record again without an idempotency key."""


class CancelArguments(NamedTuple):
    """Who cancels a verification."""

    application: str
    fingerprint: str
    """Of the idempotent request; empty without one."""
    reason: str
    """``frozen``; empty for the application."""
    request: str


class Canceled(NamedTuple):
    """A canceled verification."""

    now: int
    record: list[bytes]


CANCEL: Signature[CancelKeys, CancelArguments, Canceled | NotFound | Mismatch | AlreadyFinal] = Signature(
    "cancel", CancelKeys, CancelArguments, Canceled, NotFound, Mismatch, AlreadyFinal
)


class GuardRollBackKeys(NamedTuple):
    """Records of an application."""

    rest: tuple[str, ...]


class GuardRollBackArguments(NamedTuple):
    """Approved verifications."""

    application: str
    rest: tuple[int, ...]
    """Of each whether its number was known before, 1 or 0."""


GUARD_ROLL_BACK = Signature("guard_roll_back", GuardRollBackKeys, GuardRollBackArguments, int)
"""Returns for how many it was done now."""
