"""Signatures of the scripts of the outbox: queues, dead letters and gateways' reports."""

from typing import NamedTuple

from otp_service.store.connection import Argument
from otp_service.store.signatures.common import NotFound
from otp_service.store.signatures.signature import Signature


class JobsRenewKeys(NamedTuple):
    """The queue of each job."""

    rest: tuple[str, ...]


class JobsRenewArguments(NamedTuple):
    """The jobs of a worker."""

    group: str
    consumer: str
    silent: int
    """Milliseconds for which the worker counts as silent."""
    rest: tuple[str, ...]
    """The entry of each job in its queue."""


JOBS_RENEW = Signature("jobs_renew", JobsRenewKeys, JobsRenewArguments, int)
"""Returns how many jobs the worker still has."""


class QueuesSweepKeys(NamedTuple):
    """The queues of a bucket."""

    queues: str
    ready: str
    """Names of the queues that may have new jobs."""


class QueuesSweepArguments(NamedTuple):
    """Times in milliseconds."""

    group: str
    max_silence: int
    """Of a consumer without jobs."""
    max_age: int
    """Of a job."""


QUEUES_SWEEP = Signature("queues_sweep", QueuesSweepKeys, QueuesSweepArguments, int)
"""Returns how many queues were deleted."""


class DeadLetterRedriveKeys(NamedTuple):
    """A dead letter, and the queue of retries that its job goes to."""

    dead_letters: str
    record: str
    queue: str
    queues: str
    ready: str
    """Names of the queues that may have new jobs."""
    wake: str
    events: str


class DeadLetterRedriveArguments(NamedTuple):
    """A dead letter."""

    entry: str
    application: str
    message: int
    """Its number."""
    generation: int
    """Of its code."""
    rest: tuple[Argument, ...]
    """The job: names and values in turn."""


class Redriven(NamedTuple):
    """The message waits for a retry."""


class Gone(NamedTuple):
    """The letter or its verification is gone."""


class Unwanted(NamedTuple):
    """The message is not needed any more."""

    reason: bytes


DEAD_LETTER_REDRIVE: Signature[DeadLetterRedriveKeys, DeadLetterRedriveArguments, Redriven | Gone | Unwanted] = (
    Signature("dead_letter_redrive", DeadLetterRedriveKeys, DeadLetterRedriveArguments, Redriven, Gone, Unwanted)
)


class ReceiptKeys(NamedTuple):
    """A dispatch, and its bucket."""

    dispatch: str
    events: str
    mirror: str
    """Its head."""


class ReceiptArguments(NamedTuple):
    """A gateway's report. Flags are 1 or 0."""

    gateway: str
    status: str
    reason: str
    raw_status: str
    """The gateway's own; may be empty."""
    opted_out: int
    """Whether the number's holder wants no messages."""
    is_last: int
    """Whether nothing more is tried for the message."""
    refunded: int


class ReceiptRead(NamedTuple):
    """The verification of a report, whether or not the report changed anything."""

    recorded: int
    slot: bytes
    """The field of the record that has the dispatch."""
    now: int
    id: bytes
    record: list[bytes]
    trace: bytes


RECEIPT: Signature[ReceiptKeys, ReceiptArguments, ReceiptRead | NotFound] = Signature(
    "receipt", ReceiptKeys, ReceiptArguments, ReceiptRead, NotFound
)


class ReferencePutKeys(NamedTuple):
    """A gateway's reference, and receipts that came before it was known."""

    reference: str
    early: str


class ReferencePutArguments(NamedTuple):
    """A dispatch."""

    dispatch: str
    life: int
    """Milliseconds."""


class EarlyReceipts(NamedTuple):
    """Receipts that came before their reference was known."""

    receipts: list[bytes]


REFERENCE_PUT = Signature("reference_put", ReferencePutKeys, ReferencePutArguments, EarlyReceipts)


class ReferenceFindKeys(NamedTuple):
    """Two keys for each spelling of a reference, the likeliest first: those of `ReferencePutKeys`."""

    rest: tuple[str, ...]


class ReferenceFindArguments(NamedTuple):
    """A receipt."""

    receipt: str
    life: int
    """Milliseconds for which an early one is stored."""
    max_early: int


class ReferenceFound(NamedTuple):
    """The dispatch of a receipt."""

    dispatch: bytes


REFERENCE_FIND: Signature[ReferenceFindKeys, ReferenceFindArguments, ReferenceFound | NotFound] = Signature(
    "reference_find", ReferenceFindKeys, ReferenceFindArguments, ReferenceFound, NotFound
)


class JobsKeys(NamedTuple):
    """Two keys of each bucket: all of the first kind, then all of the second.

    To take jobs, the names of the queues that may have new ones, and the wake-up lists; to claim jobs, the names of all
    queues, and of those that may have new jobs.
    """

    rest: tuple[str, ...]


class JobsTakeArguments(NamedTuple):
    """What a worker takes."""

    group: str
    consumer: str
    max_jobs: int
    turn: int
    """Where the turns of queues begin: any number, another each time."""
    rest: tuple[str, ...]
    """Queues to leave out."""


class Jobs(NamedTuple):
    """Jobs: of each its queue, entry and fields."""

    jobs: list[tuple[bytes, bytes, list[bytes]]]


JOBS_TAKE = Signature("jobs_take", JobsKeys, JobsTakeArguments, Jobs)


class JobsClaimArguments(NamedTuple):
    """What a worker claims."""

    group: str
    consumer: str
    max_jobs: int
    silent: int
    """Milliseconds without a renewal."""


JOBS_CLAIM = Signature("jobs_claim", JobsKeys, JobsClaimArguments, Jobs)


class RetriesRequeueKeys(NamedTuple):
    """The retries of a bucket, and its queues."""

    delayed: str
    queues: str
    ready: str
    """Names of the queues that may have new jobs."""
    wake: str


class RetriesRequeueArguments(NamedTuple):
    """How many retries to move."""

    max_jobs: int
    queue: str
    """Beginning of the keys of the queues of retries."""


RETRIES_REQUEUE = Signature("retries_requeue", RetriesRequeueKeys, RetriesRequeueArguments, int)
"""Returns the milliseconds until the next retry, or -1."""


class DispatchFinishKeys(NamedTuple):
    """A job."""

    record: str
    queue: str
    delayed: str
    """The retries of its bucket."""
    dead_letters: str
    events: str
    mirror: str
    """Its head."""
    calls: str
    """Calls that are under way."""
    application: str
    country: str


class DispatchFinishArguments(NamedTuple):
    """The outcome of a job's dispatch. Times in milliseconds."""

    slot: str
    """The field of the record that has the dispatch; empty for none."""
    status: str
    reason: str
    """May be empty, as those below."""
    gateway: str
    """The gateway that was called; empty for none."""
    reference: str
    next: str
    """What follows: ``done``, ``next`` (another dispatch at once), ``retry`` or ``dead``."""
    group: str
    entry: str
    consumer: str
    delay: int
    """Of a retry."""
    max_letters: int
    max_age: int
    """Of dead letters and retries."""
    cost: int
    """Of the call, in millionths."""
    opted_out: int
    """1 where the number's holder told the gateway that they want no messages, else 0."""
    template: str
    """The template of the message."""
    rest: tuple[Argument, ...]
    """The job as it goes on: names and values in turn."""


DISPATCH_FINISH = Signature("dispatch_finish", DispatchFinishKeys, DispatchFinishArguments, bytes)
"""Returns a `FinishResult`."""
