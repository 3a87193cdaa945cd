"""Signatures of the scripts of the outbox: queues, dead letters and gateways' reports."""

from typing import NamedTuple

from otp_service.store.connection import Argument
from otp_service.store.signatures.common import Elsewhere, MirrorBehind, NotFound
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


class JobsTakeKeys(NamedTuple):
    """Four keys of each bucket, all of a kind together.

    The names of the queues that may have new jobs, the wake-up lists, the names of all queues, and the retries.
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
    """Of each bucket the beginning of the keys of its queues of retries; then the queues to leave out."""


class JobsTaken(NamedTuple):
    """Jobs, and what follows."""

    jobs: list[tuple[bytes, bytes, list[bytes]]]
    """Of each its queue, entry and fields."""
    next_retry: int
    """Milliseconds until the next retry is due; -1 where none waits."""


JOBS_TAKE = Signature("jobs_take", JobsTakeKeys, JobsTakeArguments, JobsTaken)


class JobsClaimKeys(NamedTuple):
    """Two keys of each bucket: the names of all queues; then those of the queues that may have new jobs."""

    rest: tuple[str, ...]


class Jobs(NamedTuple):
    """Jobs: of each its queue, entry and fields."""

    jobs: list[tuple[bytes, bytes, list[bytes]]]


class JobsClaimArguments(NamedTuple):
    """What a worker claims."""

    group: str
    consumer: str
    max_jobs: int
    silent: int
    """Milliseconds without a renewal."""


JOBS_CLAIM = Signature("jobs_claim", JobsClaimKeys, JobsClaimArguments, Jobs)


class DispatchKeys(NamedTuple):
    """A job, and the dispatch that it may lead to."""

    record: str
    dispatch: str
    queue: str
    decisions: str
    mirror: str
    """Its head."""
    events: str
    calls: str
    """Calls that are under way."""
    application: str
    country: str
    rest: tuple[str, ...]
    """Health and calls in flight of each gateway of the route, where they are in this slot."""


class DispatchArguments(NamedTuple):
    """A job, and the gateways of its route. Times in milliseconds."""

    application: str
    message: int
    """Its number."""
    generation: int
    """Of its code."""
    channel: str
    max_ambiguous: int
    """Failed dispatches that may have been sent all the same, after which the message still goes on."""
    dispatch: str
    group: str
    consumer: str
    entry: str
    max_decisions: int
    max_age: int
    """Of decisions, and of calls that are under way."""
    identity: str
    """Of the ledger."""
    min_sequence: int
    """Place in it that the mirror must have reached."""
    consent: str
    """Which consent is needed: ``recorded`` or ``off``."""
    mirrored: str
    """Beginning of the keys of the mirror's entries for numbers."""
    trace: str
    """The ``traceparent`` of the dispatch; empty without traces."""
    elsewhere: str = ""
    """What `revocation` returned of other buckets; empty before."""
    rest: tuple[Argument, ...] = ()
    """A `RouteGateway` for each gateway of the route, the preferred one first."""


class RouteGateway(NamedTuple):
    """A gateway of a route, and what it is allowed: 0 for any."""

    name: str
    per_second: str
    """Messages a second."""
    max_in_flight: int
    lease: int
    """Milliseconds that a call may take."""
    room: str
    """``called``, since the job was taken; or whether the worker has room for a call: ``free``, ``full`` (the message
    waits) or ``silent`` (the next gateway is called)."""
    state: bytes
    """Of a gateway in another slot, what `GATEWAY_ENTER` returned; empty before it was asked."""


class Dispatched(NamedTuple):
    """A call of a gateway is about to be made."""

    number: int
    """Of the message's dispatches."""
    gateway: bytes
    choice: bytes
    now: int
    record: list[bytes]


class NoGatewayFree(NamedTuple):
    """No gateway takes the message for ``wait`` milliseconds; -1 where all have been called already."""

    wait: int
    now: int
    record: list[bytes]


class GatewayNeeded(NamedTuple):
    """The state of a gateway in another slot is needed."""

    gateway: bytes
    last_resort: int
    """1 where no other gateway is left, else 0."""


class Dropped(NamedTuple):
    """The message is no longer wanted."""

    reason: bytes
    slot: bytes
    """The field of the record that still shows it as waiting; empty for none."""
    rule: bytes
    """The rule that refused it; empty for none."""


class LeaseLost(NamedTuple):
    """Another worker has the job by now."""


DispatchDecision = Dispatched | NoGatewayFree | Dropped | LeaseLost | MirrorBehind
DISPATCH: Signature[DispatchKeys, DispatchArguments, DispatchDecision | GatewayNeeded | Elsewhere] = Signature(
    *("dispatch", DispatchKeys, DispatchArguments),
    *(Dispatched, NoGatewayFree, GatewayNeeded, Dropped, LeaseLost, MirrorBehind, Elsewhere),
)


class DispatchFinishKeys(NamedTuple):
    """A job."""

    record: str
    queue: str
    delayed: str
    """The retries of its bucket."""
    wake: str
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
