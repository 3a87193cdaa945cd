"""Signatures of the scripts of the outbox: queues, dead letters and gateways' reports."""

from typing import NamedTuple

from otp_service.store.connection import Argument
from otp_service.store.signatures.common import Elsewhere, KeyList, MirrorBehind, NotFound
from otp_service.store.signatures.signature import Signature


class JobsRenewArguments(NamedTuple):
    group: str
    consumer: str
    silent: int
    """Milliseconds for which the worker counts as silent."""
    rest: tuple[str, ...]
    """The entry of each job in its queue."""


JOBS_RENEW = Signature[KeyList, JobsRenewArguments, int]("jobs_renew")
"""Keys: the queue of each job. Returns how many jobs the worker still has."""


class QueuesSweepKeys(NamedTuple):
    queues: str
    ready: str


class QueuesSweepArguments(NamedTuple):
    """Times in milliseconds."""

    group: str
    max_silence: int
    """Of a consumer without jobs."""
    max_age: int
    """Of a job."""


QUEUES_SWEEP = Signature[QueuesSweepKeys, QueuesSweepArguments, int]("queues_sweep")
"""Returns how many queues were deleted."""


class DeadLetterRedriveKeys(NamedTuple):
    dead_letters: str
    record: str
    queue: str
    queues: str
    ready: str
    wake: str
    events: str


class DeadLetterRedriveArguments(NamedTuple):
    entry: str
    application: str
    message: int
    generation: int
    rest: tuple[Argument, ...]
    """The job: names and values in turn."""


class Redriven(NamedTuple):
    """The message waits for a retry."""


class Gone(NamedTuple):
    """The dead letter, or its verification, no longer exists."""


class Unwanted(NamedTuple):
    """The message is not needed any more."""

    reason: bytes


DEAD_LETTER_REDRIVE = Signature[DeadLetterRedriveKeys, DeadLetterRedriveArguments, Redriven | Gone | Unwanted](
    "dead_letter_redrive"
)


class ReceiptKeys(NamedTuple):
    dispatch: str
    events: str
    mirror: str


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


RECEIPT = Signature[ReceiptKeys, ReceiptArguments, ReceiptRead | NotFound]("receipt")


class ReferencePutKeys(NamedTuple):
    reference: str
    early: str


class ReferencePutArguments(NamedTuple):
    dispatch: str
    life: int


REFERENCE_PUT = Signature[ReferencePutKeys, ReferencePutArguments, list[bytes]]("reference_put")
"""Returns the receipts that came before the reference was known."""


class ReferenceFindArguments(NamedTuple):
    receipt: str
    life: int
    """Milliseconds for which an early one is stored."""
    max_early: int


class ReferenceFound(NamedTuple):
    dispatch: bytes


REFERENCE_FIND = Signature[KeyList, ReferenceFindArguments, ReferenceFound | NotFound]("reference_find")
"""Keys: those of `ReferencePutKeys` for each spelling of a reference, the likeliest first."""


class JobsTakeArguments(NamedTuple):
    group: str
    consumer: str
    max_jobs: int
    turn: int
    """Where the turns of queues begin: any number, another each time."""
    rest: tuple[str, ...]
    """Of each bucket the beginning of the keys of its queues of retries; then the queues to leave out."""


TakenJob = tuple[bytes, bytes, list[bytes]]
"""Queue, entry and fields."""


class JobsTaken(NamedTuple):
    """Jobs, and what follows."""

    jobs: list[TakenJob]
    next_retry: int = -1
    """Milliseconds until the next retry is due; -1 for none."""


JOBS_TAKE = Signature[KeyList, JobsTakeArguments, JobsTaken]("jobs_take")
"""Keys of each bucket, all of a kind together: the names of the queues that may have new jobs, the wake-up lists, the
names of all queues, and the retries."""


class JobsClaimArguments(NamedTuple):
    group: str
    consumer: str
    max_jobs: int
    silent: int
    """Milliseconds without a renewal."""


JOBS_CLAIM = Signature[KeyList, JobsClaimArguments, JobsTaken]("jobs_claim")
"""Keys of each bucket: the names of all queues; then those of the queues that may have new jobs. No retry is read."""


class DispatchKeys(NamedTuple):
    record: str
    dispatch: str
    queue: str
    decisions: str
    mirror: str
    events: str
    calls: str
    application: str
    country: str
    rest: tuple[str, ...]
    """Health and calls in flight of each gateway of the route, where they are in this slot."""


class DispatchArguments(NamedTuple):
    """A job, and the gateways of its route. Times in milliseconds."""

    application: str
    message: int
    generation: int
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
    min_sequence: int
    consent: str
    mirrored: str
    trace: str
    elsewhere: str = ""
    rest: tuple[Argument, ...] = ()
    """A `RouteGateway` for each gateway of the route, the preferred one first."""


class RouteGateway(NamedTuple):
    """A gateway of a route, and its limits: 0 for no limit."""

    name: str
    per_second: str
    max_in_flight: int
    lease: int
    """Milliseconds that a call may take."""
    room: str
    """``called``, since the job was taken; or whether the worker has room for a call: ``free``, ``full`` (the message
    waits) or ``silent`` (the next gateway is called)."""
    state: bytes
    """Of a gateway in another slot, the reply of `GATEWAY_ENTER`; empty before."""


class Dispatched(NamedTuple):
    """A gateway is to be called."""

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
DISPATCH = Signature[DispatchKeys, DispatchArguments, DispatchDecision | GatewayNeeded | Elsewhere]("dispatch")


class DispatchFinishKeys(NamedTuple):
    record: str
    queue: str
    delayed: str
    """The retries of its bucket."""
    wake: str
    dead_letters: str
    events: str
    mirror: str
    calls: str
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
    """``done``, ``next`` (another dispatch at once), ``retry`` or ``dead``."""
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
    """1 if the number's holder opted out at the gateway, else 0."""
    template: str
    rest: tuple[Argument, ...]
    """The job as it goes on: names and values in turn."""


DISPATCH_FINISH = Signature[DispatchFinishKeys, DispatchFinishArguments, bytes]("dispatch_finish")
"""Returns a `FinishResult`."""
