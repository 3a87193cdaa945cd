"""Deliver messages: write them, choose a gateway, record receipts, fall back."""

import json
import logging
import re
import secrets
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from otp_service.domain.keyring import Keyring, SealBrokenError, new_dispatch_id
from otp_service.domain.numbers import NumberType, parse_destination
from otp_service.domain.templates import Message, Wording, minutes_told, write
from otp_service.domain.verification import (
    GRACE,
    LONGEST_LIFE,
    Allowance,
    BreakerState,
    Call,
    Channel,
    DeliveryStatus,
    Status,
    Verification,
)
from otp_service.errors import (
    InvalidNumberError,
    LedgerUnavailableError,
    MessageNotClearedError,
    NotFoundError,
    NumberTypeNotAllowedError,
    StoreUnavailableError,
    UnauthenticatedError,
)
from otp_service.gateways.base import (
    Accepted,
    AddressesReceipts,
    FailureKind,
    Gateway,
    GatewayError,
    HoldsConnections,
    Receipt,
    ReceiptForgedError,
    ReceiptRequest,
    ReportsReceipts,
)
from otp_service.gateways.http_client import reference_of
from otp_service.policies.base import AskedPolicy, Question, Ruling, Verdict
from otp_service.services.context import Context
from otp_service.services.verifications import (
    DESTINATION,
    cost_of,
    count_noted,
    count_refusal,
    derive_code,
    next_channel,
    open_details,
    price_of_further,
    today,
)
from otp_service.store.mirror import Permission
from otp_service.store.outbox import (
    NEVER,
    Behind,
    Blocked,
    Candidate,
    Dispatched,
    Dropped,
    Job,
    Next,
    Overtaken,
    Reported,
    Settled,
    Settlement,
)
from otp_service.store.verifications import Further, Queued, Refusal, RefusedByRule
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)
_PATIENCE = 0.5
"""Seconds between two attempts to record what was handed over."""
_GLANCE = 200
"""Milliseconds after which it is asked again whether a message may go, while the mirror is behind the ledger."""
LONGEST_HOLD = 1000
"""Milliseconds after which a message that is held asks again at the latest."""
_LAST_MOMENT = 1000
"""Milliseconds before the end of a code in which a message comes back no more."""
_NOT_WANTED = frozenset(
    {
        Status.APPROVED,
        Status.CANCELED,
        Status.MAX_ATTEMPTS_REACHED,
        Status.FAILED,
        "superseded",
        "sent",
        "reported",
        "suppressed",
        "frozen",
        "consent-required",
    }
)
"""Reasons to drop a message that nobody misses; any other one is reported as a dead letter."""
_GOES_ON = frozenset({FailureKind.UNAVAILABLE, FailureKind.ERROR, FailureKind.THROTTLED, FailureKind.ACCOUNT})
"""Failures after which another gateway is asked."""
ENDS_THE_DELIVERY = frozenset({FailureKind.DESTINATION, FailureKind.REJECTED, FailureKind.FRAUD})
_HAS_IT = frozenset({DeliveryStatus.SENT, DeliveryStatus.DELIVERED})


@dataclass(frozen=True, slots=True)
class Policy:
    """How persistently a message is delivered."""

    max_ambiguous: int
    """How often it goes on after a call that may have been sent all the same; what sent nothing counts for nothing."""
    backoff: tuple[float, ...]
    """Seconds to wait after the first, second … round through the gateways, at least; the last one repeats."""


@dataclass(frozen=True, slots=True)
class Held:
    """A job that goes on when a gateway's turn has come; until then it stays in the worker's hands."""

    job: Job
    milliseconds: int


def deliver(context: Context, job: Job, policy: Policy) -> Held | None:
    """Bring one job on: handed over, put back for later, given up with a reason, or held for a gateway's turn.

    Raises `StoreUnavailableError` when the outcome cannot be recorded: the job then stays in the outbox, and is
    taken up again.
    """
    try:
        application = context.directory.find(job.application)
    except LedgerUnavailableError:  # it may be a new one, that nobody here has heard of
        return Held(job, LONGEST_HOLD)
    route = context.routes.gateways_for(job.country, job.purpose, job.channel)
    if application is None or not route:
        _drop(context, job, Dropped("no_route" if application else "no_application", job.first_slot))
        return None
    try:
        permission = context.reflection.permission(application.withdrawals)
    except LedgerUnavailableError:
        return Held(job, LONGEST_HOLD)
    if stopped := ask_policies(context, job, permission):
        _follow(context, job, stopped)
        return None
    return _hand_over(context, job, route, permission, policy)


@dataclass(frozen=True, slots=True)
class Stopped:
    """A message that may not go out as it is."""

    reason: str
    """Why: ``policy NAME``, or ``no_verdict NAME`` where it is denied because that policy did not know."""
    channel: str | None
    """By which it may go on; ``None`` when it is to be given up."""
    slot: str
    """Where the record shows it as waiting; empty when it does not."""


def ask_policies(context: Context, job: Job, permission: Permission) -> Stopped | None:
    """Return what keeps a message from going out; ``None`` when it may, or when there is nothing to send any more.

    Nobody is asked, and told the number, whose holder wants no messages: the dispatch finds that out too.
    Asked is once for a message and a channel: not while it waits in this worker, nor after a gateway was called for it.
    """
    concerned = context.policies.concerning(job.application, job.purpose, job.channel)
    passing = (job.id, job.message, job.channel)
    if not concerned or context.policies.has_passed(passing):
        return None
    verification = context.store.verifications.read(job.bucket, job.id)
    if verification is None or not _is_to_be_asked_about(verification, job):
        return None
    if not context.store.dispatches.allowed(job, permission):
        return None
    try:
        number = destination_of(context.keyring, verification)
    except SealBrokenError:  # no message can be composed either, and that is reported
        return None
    question = Question(
        number=number,
        country=verification.country,
        application=verification.application,
        purpose=verification.purpose.name,
        channel=job.channel,
        verification_id=verification.id,
    )
    stopped = _rule(context, concerned, question, verification, job)
    if stopped is None:
        context.policies.remember(passing)
    return stopped


def _is_to_be_asked_about(verification: Verification, job: Job) -> bool:
    """Tell whether a message is still wanted, as far as the record shows, and was not asked about before."""
    calls = [one for one in verification.deliveries if one.message == job.message and one.gateway]
    return (
        verification.status is Status.PENDING
        and verification.generation == job.generation
        and not any(one.channel == job.channel or one.status in _HAS_IT for one in calls)
    )


def _rule(
    context: Context, policies: tuple[AskedPolicy, ...], question: Question, verification: Verification, job: Job
) -> Stopped | None:
    """Ask one policy after the other; the first that denies ends it, and each may narrow the channels that are left."""
    slot = _waiting_slot(verification, job)
    channels, reason = frozenset(map(str, Channel)), ""
    for policy in policies:
        verdict = _ask(policy, question, job)
        if not policy.binds:
            continue
        if verdict.ruling is Ruling.DENY:
            return Stopped(_because("policy", policy), None, slot)
        if verdict.ruling is Ruling.UNKNOWN and policy.denies_unknown:
            return Stopped(_because("no_verdict", policy), None, slot)
        if verdict.ruling is Ruling.ANOTHER_CHANNEL:
            channels &= verdict.channels
            reason = reason or ("" if job.channel in verdict.channels else _because("policy", policy))
    if job.channel in channels:
        return None
    further = next_channel(context, verification.purpose, verification.country, job.channel, among=channels)
    return Stopped(reason, further, slot)


def _because(word: str, policy: AskedPolicy) -> str:
    return plain_reason(f"{word} {policy.name}")


def _ask(policy: AskedPolicy, question: Question, job: Job) -> Verdict:
    verdict = policy.ask(question)
    metrics.policy_verdicts.count(policy=policy.name, verdict=verdict.ruling)
    _log.log(
        logging.WARNING if verdict.ruling is Ruling.UNKNOWN else logging.INFO,
        "policy_asked",
        policy=policy.name,
        verdict=str(verdict.ruling),
        reason=plain_reason(verdict.reason),
        binds=policy.binds,
        channel=job.channel,
        verification=job.id,
        message=job.message,
    )
    return verdict


def _waiting_slot(verification: Verification, job: Job) -> str:
    waits = any(
        one.message == job.message and one.status is DeliveryStatus.QUEUED and not one.gateway
        for one in verification.deliveries
    )
    return job.first_slot if waits else ""


def _follow(context: Context, job: Job, stopped: Stopped) -> None:
    """Do what policies say of a message: give it up, or send it on by another channel."""
    if stopped.channel is None:
        _give_up(context, job, stopped.slot, stopped.reason)
        return
    settled = context.store.dispatches.settle(job, "", Settlement(Next.RETRY, channel=stopped.channel))
    if settled is Settled.SETTLED:
        _log.info("message_redirected", verification=job.id, message=job.message, channel=stopped.channel)


def _hand_over(
    context: Context, job: Job, route: Collection[str], permission: Permission, policy: Policy
) -> Held | None:
    """Call one gateway after the other, until one has the message or none is left that may be called now."""
    following = Next.NEXT
    while following is Next.NEXT:
        candidates = [Candidate(name, context.allowances[name], name in job.called) for name in route]
        found = context.store.dispatches.dispatch(
            job, new_dispatch_id(job.bucket), candidates, permission, policy.max_ambiguous
        )
        match found:
            case Overtaken():
                _log.info("message_overtaken", verification=job.id, message=job.message)
                return None
            case Behind():
                return Held(job, _GLANCE)
            case Dropped():
                _drop(context, job, found)
                return None
            case Blocked():
                return _hold_or_rest(context, job, found, policy)
            case Dispatched():
                job = replace(job, called=job.called | {found.gateway})
                following = _attempt(context, job, found)
    return None


def _attempt(context: Context, job: Job, dispatched: Dispatched) -> Next:
    """Make one call and record what became of it; return what follows here."""
    message = _composed(context, job, dispatched)
    if message is None:
        return Next.DONE
    gateway, allowance = context.gateways[dispatched.gateway], context.allowances[dispatched.gateway]
    cost = cost_of(context, dispatched.gateway, message, job.country)  # nothing may fail between a call and its record
    began = time.perf_counter()
    with tracing.span("send", "client", gateway=dispatched.gateway, dispatch=dispatched.number):
        outcome = _send(gateway, message)
        tracing.note(failed=not isinstance(outcome, Accepted), outcome=_word_of(outcome))
    seconds = time.perf_counter() - began
    metrics.dispatches.count(gateway=dispatched.gateway, outcome=_word_of(outcome))
    metrics.gateway_calls.observe(seconds, gateway=dispatched.gateway)
    if isinstance(outcome, Accepted) and isinstance(gateway, HoldsConnections):
        refer(context, dispatched.gateway, outcome.reference, dispatched.dispatch_id)  # its receipts do not wait
    settlement = replace(_follow_up(context, job, dispatched, outcome), template=str(message.template or ""))
    if isinstance(outcome, Accepted) or outcome.ambiguous:  # what may have been sent is paid for
        settlement = replace(settlement, cost=cost)
    settled = _settle(context, job, dispatched, settlement)
    following = settlement.next if settled is Settled.SETTLED else Next.DONE
    _learn(context, dispatched, told_by(outcome, seconds, allowance), outcome, settlement.reason)
    _report(job, dispatched, settlement, following)
    return following


def _composed(context: Context, job: Job, dispatched: Dispatched) -> Message | None:
    """Return the message; ``None`` when there cannot be one, which another try would not change: it is given up."""
    try:
        return compose(context, job, dispatched)
    except SealBrokenError:  # its root key is gone from the configuration
        reason = "unreadable"
    except MessageNotClearedError as refused:
        reason = refused.obstacle
    except Exception as defect:  # noqa: BLE001 - whatever it is, nothing was sent
        reason = "defect"
        _log.error("composition_defect", error=type(defect).__name__)  # its text may hold the number
    context.store.health.observe(dispatched.gateway, dispatched.dispatch_id, Call.NONE)
    _give_up(context, job, dispatched.slot, reason, dispatched.gateway)
    return None


def compose(context: Context, job: Job, dispatched: Dispatched) -> Message:
    """Return the message of a dispatch.

    Raises `SealBrokenError` when its root key is gone from the configuration, and `MessageNotClearedError` when the
    rules of the country do not let it go out.
    """
    verification, keyring = dispatched.verification, context.keyring
    application = context.applications[verification.application]
    transaction, _ = open_details(keyring, verification)
    digest = keyring.transaction_digest(verification.id, transaction)
    remaining = max(1, (verification.expires - dispatched.now) // 1000)
    wording = Wording(
        application=application,
        purpose=verification.purpose,
        channel=Channel(job.channel),
        locale=verification.locale,
        code=derive_code(keyring, verification, job.generation, digest),
        minutes=minutes_told(remaining),
        transaction=transaction,
        languages=context.clearance.rules_of(verification.country).languages,
    )
    words = write(context.catalogue, wording)
    sender = context.clearance.clear(
        verification.country, job.channel, application.name, words.template, today(), dispatched.gateway
    )
    return Message(
        to=destination_of(keyring, verification),
        text=words.text,
        channel=job.channel,
        locale=words.locale,
        expires_in=remaining,
        dispatch_id=dispatched.dispatch_id,
        receipt_url=_receipt_url(context, dispatched),
        verification_id=verification.id,
        application=application.name,
        variables=words.variables,
        sender=sender,
        template=words.template,
    )


def destination_of(keyring: Keyring, verification: Verification) -> str:
    """Return a number in the clear (E.164); raise `SealBrokenError` when its root key is gone."""
    number = keyring.unseal(
        verification.sealed_destination,
        verification_id=verification.id,
        application=verification.application,
        kind=DESTINATION,
    )
    return number.decode().rstrip()


def _receipt_url(context: Context, dispatched: Dispatched) -> str | None:
    gateway = context.gateways[dispatched.gateway]
    if context.public_url is None or not isinstance(gateway, ReportsReceipts):
        return None
    url = receipt_url(context.public_url, dispatched.gateway, dispatched.dispatch_id)
    return gateway.receipt_address(url, dispatched.dispatch_id) if isinstance(gateway, AddressesReceipts) else url


def receipt_url(public_url: str, gateway: str, dispatch_id: str) -> str:
    """Return the address that a gateway reports a dispatch to: part of what it signs."""
    return f"{public_url}/v1/receipts/{gateway}/{dispatch_id}"


def _send(gateway: Gateway, message: Message) -> Accepted | GatewayError:
    try:
        return Accepted(reference_of(gateway.send(message).reference, message))
    except GatewayError as failure:
        return failure
    except Exception as defect:  # noqa: BLE001 - a stranger's gateway must not take the worker down
        _log.error("gateway_defect", error=type(defect).__name__)  # its text may hold the message
        return GatewayError(FailureKind.UNAVAILABLE, "defect", ambiguous=True)


def _word_of(outcome: Accepted | GatewayError) -> str:
    return "accepted" if isinstance(outcome, Accepted) else outcome.kind


def _follow_up(context: Context, job: Job, dispatched: Dispatched, outcome: Accepted | GatewayError) -> Settlement:
    if isinstance(outcome, Accepted):
        return Settlement(Next.DONE, DeliveryStatus.SENT, reference=outcome.reference)
    verification = dispatched.verification
    further = next_channel(context, verification.purpose, verification.country, job.channel)
    return after_failure(outcome, further)


def after_failure(failure: GatewayError, further: str | None) -> Settlement:
    """Decide what follows a failed call; ``further`` is the next channel, if there is one.

    *unavailable*, *error*, *throttled* and *account* go on to another gateway, as long as the code lives; *channel*
    goes on through the next channel; nothing else does. The next dispatch is refused when too many calls may have been
    sent although they failed, and calls no gateway that answered the message with too many errors.
    """
    status = DeliveryStatus.UNKNOWN if failure.ambiguous else DeliveryStatus.FAILED
    reason = plain_reason(f"{failure.kind} {failure.provider_code}")
    if failure.kind in _GOES_ON:
        return Settlement(Next.NEXT, status, reason=reason)
    if failure.kind is FailureKind.CHANNEL and further:
        return Settlement(Next.RETRY, status, reason=reason, channel=further)
    return Settlement(Next.DEAD, status, reason=reason, opted_out=failure.opted_out)


def _settle(context: Context, job: Job, dispatched: Dispatched, settlement: Settlement) -> Settled:
    """Record an outcome; return what that has led to.

    What was handed over is recorded again and again while Redis is away, as long as the code lives: forgotten, the
    message would be sent a second time. To record it twice does no harm.
    """
    end = time.monotonic() + (dispatched.verification.expires - dispatched.now) / 1000
    while True:
        try:
            return context.store.dispatches.settle(job, dispatched.slot, settlement, dispatched.gateway)
        except StoreUnavailableError:
            if settlement.status is not DeliveryStatus.SENT or time.monotonic() > end:
                raise
            time.sleep(_PATIENCE)


def _learn(context: Context, dispatched: Dispatched, call: Call, outcome: Accepted | GatewayError, reason: str) -> None:
    """Tell the breaker how the call went. What it does not learn now it learns from the next call."""
    asked, refusal = 0.0, ""
    if isinstance(outcome, GatewayError):
        asked = 0.0 if outcome.of_message else outcome.retry_after
        refusal = reason if outcome.kind is FailureKind.ACCOUNT else ""
    with suppress(StoreUnavailableError):
        observe(context, dispatched.gateway, dispatched.dispatch_id, call, 1000 * asked, refusal)


def told_by(outcome: Accepted | GatewayError, seconds: float, allowance: Allowance) -> Call:
    """Return what a call tells of its gateway: one that answers in time is well, whatever it says of the message."""
    kind = None if isinstance(outcome, Accepted) or outcome.of_message else outcome.kind
    if kind is FailureKind.THROTTLED:
        return Call.THROTTLED
    ill = kind in {FailureKind.UNAVAILABLE, FailureKind.ERROR, FailureKind.ACCOUNT}
    return Call.BAD if ill or seconds >= allowance.slow else Call.WELL


def observe(
    context: Context, gateway: str, dispatch_id: str, call: Call, leave_alone: float = 0, refusal: str = ""
) -> None:
    """Tell of a call, or of a report on it; ``refusal`` is the reason why it refuses our account, empty if it does not.

    ``leave_alone`` are the milliseconds that it asked for. Raises `StoreUnavailableError`.
    """
    if refusal:
        metrics.account_refusals.count(gateway=gateway)
        _log.error("account_refused", gateway=gateway, reason=refusal)
    changed = context.store.health.observe(gateway, dispatch_id, call, leave_alone, refusal)
    if changed is not None:
        metrics.breaker_changes.count(gateway=gateway, state=changed)
        level = logging.WARNING if changed is BreakerState.OPEN else logging.INFO
        _log.log(level, f"breaker_{changed}", gateway=gateway)


def _report(job: Job, dispatched: Dispatched, settlement: Settlement, following: Next) -> None:
    if following is Next.DEAD:
        metrics.dead_letters.count(reason=settlement.reason.partition(" ")[0])
    _log.log(
        logging.INFO if settlement.status is DeliveryStatus.SENT else logging.WARNING,
        "message_dispatched",
        verification=job.id,
        message=job.message,
        dispatch=dispatched.number,
        gateway=dispatched.gateway,
        choice=dispatched.choice,
        status=str(settlement.status),
        reason=settlement.reason,
        following=str(following),
    )


def _hold_or_rest(context: Context, job: Job, blocked: Blocked, policy: Policy) -> Held | None:
    """Hold a message until a gateway's turn comes; after a round through all, put it back until their rest is over."""
    delay = rest(blocked, job, policy)
    if delay is None:
        return Held(job, max(1, min(blocked.wait, LONGEST_HOLD)))
    if blocked.now + delay >= blocked.verification.expires:
        _give_up(context, job, "", "no_gateway")
        return None
    context.store.dispatches.settle(job, "", Settlement(Next.RETRY, delay=delay))
    _log.info("message_put_back", verification=job.id, message=job.message, delay=delay)
    return None


def rest(blocked: Blocked, job: Job, policy: Policy) -> int | None:
    """Return the milliseconds that a message rests once no gateway is left to call in this round.

    That is up to a quarter longer than its turn says, by chance, so that those which failed together do not come back
    together; and no longer than half of what is left of the code's life, so that no code dies while its message rests.
    ``None`` while it only waits for a gateway's turn: it was not called yet, or the turn comes sooner than the rest
    would end.
    """
    if not job.called:
        return None
    calls = Counter(
        one.gateway
        for one in blocked.verification.deliveries
        if one.message == job.message and one.channel == job.channel and one.gateway
    )
    rounds = max(calls.values(), default=1)
    backoff = round(1000 * policy.backoff[min(rounds, len(policy.backoff)) - 1])
    left = blocked.verification.expires - blocked.now
    delay = min(backoff + secrets.randbelow(backoff // 4 + 1), max(left // 2, _LAST_MOMENT))
    return delay if blocked.wait == NEVER or blocked.wait > delay else None


def _drop(context: Context, job: Job, dropped: Dropped) -> None:
    if dropped.rule:
        count_refusal(job.application, job.country, dropped.rule)
    if dropped.reason not in _NOT_WANTED:
        _give_up(context, job, dropped.slot, dropped.reason)
        return
    context.store.dispatches.settle(job, dropped.slot, Settlement(Next.DONE, reason=dropped.reason))
    _log.info("message_dropped", verification=job.id, message=job.message, reason=dropped.reason)


def _give_up(context: Context, job: Job, slot: str, reason: str, gateway: str = "") -> None:
    status = DeliveryStatus.EXPIRED if reason == Status.EXPIRED else DeliveryStatus.FAILED
    settled = context.store.dispatches.settle(job, slot, Settlement(Next.DEAD, status, reason=reason), gateway)
    if settled is Settled.SETTLED:
        metrics.dead_letters.count(reason=reason.partition(" ")[0])
        _log.error("message_given_up", verification=job.id, message=job.message, reason=reason)


_NOT_A_REASON = re.compile(r"[^a-z0-9_. -]")
_NOT_A_STATUS = re.compile(r"[^A-Za-z0-9_. -]")
_DIGITS = re.compile(r"[0-9](?:[_. -]*[0-9]){5,}")
"""What could be a number or a code: signs may stand between its digits."""
_MAX_REASON = 40
_MAX_STATUS = 24


def plain_reason(reason: str) -> str:
    """Return a reason as a record may keep it: short, lower case, nothing that could hold a message or a number."""
    return _DIGITS.sub("_", _NOT_A_REASON.sub("_", reason.lower()))[:_MAX_REASON]


def plain_status(raw_status: str) -> str:
    """Return a provider's own status as a record may keep it, in the same way."""
    return _DIGITS.sub("_", _NOT_A_STATUS.sub("_", raw_status))[:_MAX_STATUS]


_UNKNOWN = "There is no such dispatch."
_TRIES = 3
_PAUSE = 1.0
"""Seconds between two tries: the mirror of the ledger is rarely behind for longer."""
_REMEMBERED = (LONGEST_LIFE + GRACE) * 1000
"""Milliseconds: the longest life of a record."""
_DID_NOT_ARRIVE = frozenset({DeliveryStatus.UNDELIVERED, DeliveryStatus.FAILED})


@dataclass(frozen=True, slots=True)
class Expected:
    """A dispatch that its gateway may report on."""

    gateway: str
    reporter: ReportsReceipts
    dispatch_id: str


def expected_receipt(context: Context, gateway: str, dispatch_id: str) -> Expected:
    """Return the dispatch that a report is about, to be asked before anything of the report is read.

    Raises `NotFoundError` when the gateway does not report here, or the dispatch is not one of its own. The identifier
    has 128 random bits, so a stranger gets no further than here.
    """
    reporter = context.gateways.get(gateway)
    bucket = context.keyring.bucket_of_dispatch(dispatch_id)
    if bucket is None or context.public_url is None or not isinstance(reporter, ReportsReceipts):
        raise NotFoundError(_UNKNOWN)
    if not context.store.dispatches.made(bucket, dispatch_id, gateway):
        raise NotFoundError(_UNKNOWN)
    return Expected(gateway, reporter, dispatch_id)


def record_receipt(context: Context, expected: Expected, request: ReceiptRequest) -> None:
    """Authenticate a report and record it.

    Raises `UnauthenticatedError` for a forged one, `NotFoundError` when the dispatch is gone meanwhile, and
    `StoreUnavailableError` or `LedgerUnavailableError` when it has to come again. A report never approves anything, nor
    undoes a terminal status.
    """
    try:
        receipt = expected.reporter.receipt(request)
    except ReceiptForgedError as forged:
        raise UnauthenticatedError("The report is not authentic.") from forged
    if not record(context, expected.gateway, expected.dispatch_id, receipt):
        raise NotFoundError(_UNKNOWN)


class Desk:
    """Where one gateway hands its receipts in."""

    def __init__(self, context: Context, gateway: str) -> None:
        self._context = context
        self._gateway = gateway

    def hand_in(
        self,
        references: tuple[str, ...],
        receipt: Receipt,
        guesses: Sequence[tuple[str, ...]] = (),
        numbers: tuple[str, ...] = (),
    ) -> bool:
        """Record a receipt for the dispatch that was accepted under a reference; return whether it was taken.

        One that comes before the dispatch is known to be accepted is kept until `refer` tells of it. A guess counts for
        a dispatch to one of the numbers only.
        """
        try:
            whom = tuple(self._pseudonyms(numbers)) if guesses else ()
            found = self._found(references, receipt, guesses if whom else (), whom)
            if found is not None:
                record(self._context, self._gateway, found, receipt)
        except StoreUnavailableError:
            metrics.store_errors.count(operation="receipt")
        except LedgerUnavailableError:
            metrics.ledger_errors.count(operation="receipt")
        except Exception as defect:  # noqa: BLE001 - ours, and no reason to lose the receipt
            _log.error("receipt_defect", gateway=self._gateway, error=type(defect).__name__)
        else:
            return True
        _log.warning("receipt_not_taken", gateway=self._gateway)
        return False

    def _found(
        self, references: tuple[str, ...], receipt: Receipt, guesses: Sequence[tuple[str, ...]], whom: tuple[str, ...]
    ) -> str | None:
        """Return the dispatch that a receipt is about; keep one that nobody knows yet, by its guesses too."""
        known = self._context.store.references
        for group in (references, *guesses) if guesses else ():
            found = known.known(self._gateway, group)
            if found and (group is references or _went_to(self._context, found, whom)):
                return found
        found = known.dispatch_of(self._gateway, references, _written(receipt, ()))
        for group in () if found else guesses:
            known.dispatch_of(self._gateway, group, _written(receipt, whom))
        return found

    def _pseudonyms(self, numbers: Iterable[str]) -> Iterator[str]:
        for number in numbers:
            with suppress(InvalidNumberError, NumberTypeNotAllowedError):
                to = parse_destination(f"+{number.lstrip('+0')}", None, tuple(NumberType))
                yield self._context.keyring.pseudonym(to.e164)


def refer(context: Context, gateway: str, reference: str, dispatch_id: str) -> None:
    """Remember under which reference a dispatch was accepted, and record the receipts that were faster."""
    try:
        early = context.store.references.remember(gateway, reference, dispatch_id, _REMEMBERED)
    except StoreUnavailableError:
        metrics.store_errors.count(operation="receipt")
        _log.warning("reference_lost", gateway=gateway)
        return
    for receipt in early:
        _record_early(context, gateway, dispatch_id, *_read(receipt))


def _record_early(context: Context, gateway: str, dispatch_id: str, receipt: Receipt, whom: tuple[str, ...]) -> None:
    """Record a receipt that nobody sends again: it was acknowledged when it came."""
    for left in reversed(range(_TRIES)):
        try:
            if not whom or _went_to(context, dispatch_id, whom):
                record(context, gateway, dispatch_id, receipt)
        except (StoreUnavailableError, LedgerUnavailableError):
            if left:
                time.sleep(_PAUSE)
        else:
            return
    metrics.store_errors.count(operation="receipt")
    _log.warning("receipt_lost", gateway=gateway)


def _went_to(context: Context, dispatch_id: str, whom: tuple[str, ...]) -> bool:
    bucket = context.keyring.bucket_of_dispatch(dispatch_id)
    return bucket is not None and context.store.dispatches.pseudonym_of(bucket, dispatch_id) in whom


def _written(receipt: Receipt, whom: tuple[str, ...]) -> str:
    """Return a receipt as it is kept, with the pseudonyms of whom a guess at its message has to have gone to."""
    return json.dumps([receipt.status, receipt.raw_status, receipt.reason, receipt.kind, receipt.opted_out, *whom])


def _read(text: str) -> tuple[Receipt, tuple[str, ...]]:
    """Return a receipt and those pseudonyms as they were kept."""
    status, raw_status, reason, kind, opted_out, *whom = json.loads(text)
    receipt = Receipt(DeliveryStatus(status), raw_status, reason, FailureKind(kind) if kind else None, opted_out)
    return receipt, tuple(whom)


def record(context: Context, gateway: str, dispatch_id: str, receipt: Receipt) -> bool:
    """Record an authentic report on a dispatch, and what follows from it; return whether the gateway made it.

    Raises `StoreUnavailableError`; and `LedgerUnavailableError` when it is recorded, and what follows is not known now.
    """
    bucket = context.keyring.bucket_of_dispatch(dispatch_id)
    if bucket is None:
        return False
    reason, raw_status = plain_reason(receipt.reason or ""), plain_status(receipt.raw_status)
    reported = context.store.dispatches.report(
        bucket,
        dispatch_id,
        gateway,
        receipt.status,
        reason,
        raw_status,
        opted_out=receipt.opted_out,
        last_word=receipt.kind in ENDS_THE_DELIVERY,
    )
    if reported is None:
        return False
    if reported.news:
        metrics.receipts.count(gateway=gateway, status=receipt.status)
        if receipt.kind is FailureKind.ACCOUNT:
            observe(context, gateway, dispatch_id, Call.BAD, refusal=reason or receipt.kind)
    fall_back(context, bucket, reported, receipt)
    return True


def fall_back(context: Context, bucket: str, reported: Reported, receipt: Receipt) -> None:
    """Queue a further message of the verification, through its next channel and with the same code, if that may help.

    Where the gateway refuses our account, another one of the same channel comes first.

    It counts as a message of the verification and of the number, like one that a caller asks for; only the delay
    before it is not waited for. A receipt that comes twice sends once: only the last call of the last message is fallen
    back from; and whoever still has that message at hand, for the gateway's answer came later or was a time-out, stops.

    Raises `LedgerUnavailableError` while it cannot be told whether a message may go: the receipt has to come again.
    """
    channel = _channel_after(context, reported, receipt)
    application = context.applications.get(reported.verification.application)
    if channel is None or application is None:
        return
    verification = reported.verification
    permission = context.reflection.permission(application.withdrawals)
    try:
        price = price_of_further(context, verification, channel)
    except SealBrokenError:  # nobody could write the message
        _log.info("no_fallback", verification=verification.id, channel=channel)
        return
    outcome = context.store.verifications.resend(
        bucket,
        verification,
        Further(
            channel,
            price=price,
            falls_back_from=reported.message,
            after_dispatch=reported.dispatch,
            trace=tracing.traceparent(),
        ),
        permission,
        context.rulesets[verification.application],
    )
    match outcome:
        case Refusal.MIRROR_BEHIND:
            raise LedgerUnavailableError("The mirror of the ledger is behind.")
        case Queued(noted=noted):
            count_noted(verification.application, verification.country, noted)
        case RefusedByRule(rule):
            count_refusal(verification.application, verification.country, rule)
    event = "fell_back" if isinstance(outcome, Queued) else "no_fallback"
    _log.info(event, verification=verification.id, channel=channel)


def _channel_after(context: Context, reported: Reported, receipt: Receipt) -> str | None:
    """Return the channel to try now; ``None`` unless the last call of the last message did not arrive."""
    verification = reported.verification
    last = max(verification.deliveries, key=lambda one: (one.message, one.dispatch))
    is_last = (last.message, last.dispatch) == (reported.message, reported.dispatch)
    did_not_arrive = is_last and last.status == receipt.status and receipt.status in _DID_NOT_ARRIVE
    if not did_not_arrive or verification.status is not Status.PENDING or receipt.kind in ENDS_THE_DELIVERY:
        return None
    purpose, country = verification.purpose, verification.country
    if receipt.kind is FailureKind.ACCOUNT:
        called = {one.gateway for one in verification.deliveries if one.channel == last.channel}
        if not called.issuperset(context.routes.gateways_for(country, purpose.name, last.channel)):
            return last.channel
    return next_channel(context, purpose, country, last.channel)
