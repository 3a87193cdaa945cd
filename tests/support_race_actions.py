"""What racers do. A racer finds it by its module's name, in a process of its own: so it is here, and not in a test."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from support_caller import Caller
from support_outbox import BUCKET, dispatch, jobs_of, paced, requeue, settle

from otp_service.bootstrap import Installation
from otp_service.domain.consents import SuppressionSource
from otp_service.domain.keyring import new_dispatch_id
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.domain.routing import CallResult
from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import FrozenError, OtpServiceError, StepUpRequiredError, TooManyError
from otp_service.services.context import Context
from otp_service.services.factors import user_key
from otp_service.services.subjects import freeze
from otp_service.services.verifications import check
from otp_service.store.outbox import DeadLetter, Dispatched, DispatchResult, Job, NextStep, NoGatewayFree
from otp_service.store.signatures.outbox import LeaseLost

SILENT = 300
"""Milliseconds after which a worker counts as dead."""


def choose(installation: Installation, given: tuple[Job, dict[str, Any]]) -> tuple[str, str]:
    """Choose a gateway for a job; return it and why, or how long to wait, or why there is none."""
    job, bounds = given
    match dispatch(installation.context, job, ("first", "second"), max_ambiguous=2, first=paced(**bounds)):
        case Dispatched() as made:
            return made.gateway, made.choice
        case NoGatewayFree() as found:
            return "", str(found.wait)
        case LeaseLost():
            return "", "overtaken"
        case dropped:
            return "", dropped.reason


def choose_the_only_one(installation: Installation, job: Job) -> str:
    """Choose for a job where there is one gateway only; return why it was chosen."""
    found = dispatch(installation.context, job, ("first",))
    return found.choice if isinstance(found, Dispatched) else ""


def take_over_and_choose(installation: Installation, consumer: str) -> tuple[str, str]:
    """Claim the only job there is, whoever has it, and choose a gateway for it."""
    (job,) = installation.context.store.outbox.claim(consumer, 1, 0)
    return choose(installation, (job, {}))


def learn(installation: Installation, call: CallResult) -> str:
    """Tell of a call to the first gateway; return what its breaker changed to."""
    return str(installation.context.store.health.observe("first", new_dispatch_id(BUCKET), call))


def take(installation: Installation, consumer: str) -> list[tuple[str, str]]:
    return [(job.queue, job.entry) for job in jobs_of(installation.context, consumer, 7)]


def claim(installation: Installation, consumer: str) -> list[str]:
    outbox = installation.context.store.outbox
    return [job.entry for job in outbox.claim(consumer, 100, SILENT)]


def move_retries(installation: Installation, _: None) -> None:
    requeue(installation.context)


def redrive(installation: Installation, letter: DeadLetter) -> str:
    return str(installation.context.store.dead_letters.redrive(letter)[0])


def report(installation: Installation, given: tuple[str, str]) -> bool:
    """Report of a dispatch of the first gateway; return whether that was news."""
    identifier, status = given
    store = installation.context.store.dispatches
    reported = store.report(BUCKET, identifier, "first", status, "", status)  # type: ignore[arg-type] # a plain word
    return bool(reported and reported.news)


def resend(installation: Installation, one: str) -> bool:
    """Ask for a resend; return whether it was accepted."""
    try:
        Caller(installation).resend(one)
    except OtpServiceError:
        return False
    return True


def start_some(installation: Installation, given: Sequence[tuple[str, str | None]]) -> list[bool]:
    """Start verifications of numbers and contexts, all at once; return which a rule lets."""
    shop = Caller(installation)

    def act(one: tuple[str, str | None]) -> bool:
        try:
            shop.start(one[0], context=one[1])
        except TooManyError:
            return False
        return True

    with ThreadPoolExecutor(len(given)) as pool:
        return list(pool.map(act, given))


def guess_some(installation: Installation, given: Sequence[tuple[str, str]]) -> list[str | None]:
    """Check codes of verifications, all at once, and resend each; return what came of the checks."""
    shop = Caller(installation)

    def act(one: tuple[str, str]) -> str | None:
        reason = shop.check(*one)[3]
        with suppress(OtpServiceError):
            shop.resend(one[0])
        return reason

    with ThreadPoolExecutor(len(given)) as pool:
        return list(pool.map(act, given))


def call_twice(installation: Installation, jobs: Sequence[Job]) -> int:
    """Call a gateway for each message, and again because nobody knows what became of it; return how many calls."""
    calls = 0
    for job in jobs:
        for _ in range(2):
            made = dispatch(installation.context, job, ("first", "second"))
            if isinstance(made, Dispatched):
                calls += 1
                settle_unknown(installation, (job, made, 700_000))
    return calls


def settle_unknown(installation: Installation, given: tuple[Job, Dispatched, int]) -> str:
    """Settle a call of which nobody knows what became, by what it cost in millionths."""
    job, made, cost = given
    return str(
        settle(installation.context, job, made, DispatchResult(NextStep.NEXT, DeliveryStatus.UNKNOWN, cost=cost))
    )


def live_through_a_freeze(installation: Installation, given: tuple[str, int]) -> list[tuple[str, float]]:
    """Freeze a number once so many other processes use it; or, with 0, use it until it is frozen.

    Returns actions and their times by the monotonic clock of the host: the end of the freeze, or the beginning of each
    action that succeeded.
    """
    to, others = given
    if not others:
        return _use(Caller(installation), to)
    end = time.monotonic() + 30
    while _users(installation.context, to, 0) < others and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.5)
    number = subject_key(installation.context.keyring, parse_destination(to, None))
    freeze(installation.context, number, "shop", SuppressionSource.API)
    return [("frozen", time.monotonic())]


def live_through_a_freeze_of_a_user(installation: Installation, given: tuple[str, int]) -> list[tuple[str, float]]:
    """Freeze a user once so many other processes transfer money; or, with 0, transfer until the user is frozen.

    Returns as `live_through_a_freeze` does, and each start that was refused too.
    """
    user, others = given
    if not others:
        return _transfer(Caller(installation), user)
    end = time.monotonic() + 30
    while _users(installation.context, user, 0) < others and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.5)
    freeze(installation.context, user_key(installation.context, "shop", user), "shop", SuppressionSource.API)
    frozen = time.monotonic()
    _users(installation.context, user, _ANSWERED)
    return [("frozen", frozen)]


_ANSWERED = 1000
"""More than any count of processes: that a freeze was answered."""


def _transfer(shop: Caller, user: str) -> list[tuple[str, float]]:
    """Log in, start a transfer and approve it, again and again, and then with ten proofs from before the freeze.

    Five of them, and five transfers that are pending, are for when the freeze was answered.
    """
    to = f"+92300{time.monotonic_ns() % 10_000_000:07d}"
    proofs = [_log_in(shop, to, user) for _ in range(10)]
    pending = [(one, shop.code(one)) for one in (shop.start(to, user=user) for _ in range(15))]
    done: list[tuple[str, float]] = []
    _users(shop.context, user, 1)
    end = time.monotonic() + 30
    while proofs and time.monotonic() < end:
        try:
            proof = _log_in(shop, to, user)
        except (FrozenError, NotApprovedError):
            if len(proofs) <= 5 and _users(shop.context, user, 0) < _ANSWERED:
                continue
            proof = proofs.pop()
        began = time.monotonic()
        try:
            one = shop.start(to, user=user, purpose="transfer", after=proof)
        except (FrozenError, StepUpRequiredError):  # frozen: the freeze came after the proof's bucket was read
            done.append(("refused", began))
            one, code = pending.pop()  # of those that have waited since before the freeze
        else:
            done.append(("started", began))
            code = shop.code(one)
        began = time.monotonic()
        if shop.check(one, code)[1]:
            done.append(("approved", began))
    return done


class NotApprovedError(Exception):
    """A right code was not approved: its user was frozen meanwhile."""


def _log_in(shop: Caller, to: str, user: str) -> str:
    """Return the proof of a login."""
    one = shop.start(to, user=user)
    proof = check(shop.context, shop.application, one, shop.code(one)).proof
    if proof is None:
        raise NotApprovedError
    return proof


def _users(context: Context, to: str, more: int) -> int:
    """Count more processes that use a number; return how many there are."""
    client = context.store.replies._client
    with client.pipeline(transaction=True) as pipeline:
        pipeline.incrby(f"otp:test:users:{to}", more)
        pipeline.expire(f"otp:test:users:{to}", 60)
        return int(pipeline.execute()[0])


def _use(shop: Caller, to: str) -> list[tuple[str, float]]:
    """Start, hand over and check again and again, until the number has been frozen for twenty turns."""
    done: list[tuple[str, float]] = []
    put_by = [(one, shop.code(one)) for one in (shop.start(to) for _ in range(20))]
    _users(shop.context, to, 1)
    refusals, end = 0, time.monotonic() + 30
    while refusals < 20 and time.monotonic() < end:
        began = time.monotonic()
        try:
            one = shop.start(to)
        except FrozenError:
            refusals += 1
            one, code = put_by.pop()  # of those that have waited since before the freeze
        else:
            done.append(("started", began))
            code = shop.code(one)
        for job in jobs_of(shop.context, f"worker-{id(shop)}", 1):
            began = time.monotonic()
            if isinstance(dispatch(shop.context, job, ("first",)), Dispatched):
                done.append(("handed over", began))
        began = time.monotonic()
        if shop.check(one, code)[1]:
            done.append(("approved", began))
    assert refusals == 20
    return done
