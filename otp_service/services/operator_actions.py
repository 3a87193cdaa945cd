"""Operator actions on Redis: each is recorded in the ledger unless nothing changed."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.domain.numbers import SubjectKey, ip_prefix_of, prefix_32_of, prefix_48_of
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.audit import ChainLink
from otp_service.ledger.schema import operator_actions
from otp_service.services.context import Context
from otp_service.store.outbox import DeadLetter, RedriveResult
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


class AuditStatus(StrEnum):
    """What the audit chain says of an operator's action."""

    RECORDED = "recorded"
    """It is as it was recorded."""
    UNKNOWN = "unknown"
    """The chain has no entry of it: somebody else put the row in."""
    CHANGED = "changed"
    """The row is not as it was recorded."""


@dataclass(frozen=True, slots=True)
class AuditedAction:
    """A recorded action, and its proof in the audit chain."""

    entry: OperatorActionEntry
    proof: AuditStatus


def record_action(context: Context, operator_action: OperatorActionEntry) -> bool:
    """Record an action that is done already, without waiting for the ledger; return whether it is recorded.

    Where it could not, the log has it.
    """
    try:
        context.ledger.operator_actions.add(operator_action)
    except LedgerUnavailableError:
        _log_unrecorded(operator_action)
        return False
    return True


def perform_action(context: Context, operator_action: OperatorActionEntry, do: Callable[[], int]) -> int:
    """Do something outside the ledger, and record it if it changed anything; return how much it changed.

    Raises `LedgerUnavailableError`. Where it was done all the same, or may have been, as when the disk filled up
    meanwhile, the log has it.
    """
    is_done = False

    def do_and_note() -> int:
        nonlocal is_done
        is_done = True  # perhaps, where it fails
        changed = do()
        is_done = changed > 0
        return changed

    try:
        return context.ledger.operator_actions.perform(operator_action, do_and_note)
    except LedgerUnavailableError:
        if is_done:
            _log_unrecorded(operator_action)
        raise


def _log_unrecorded(operator_action: OperatorActionEntry) -> None:
    _log.warning(
        "action_not_recorded",
        action=str(operator_action.action),
        by=operator_action.by,
        application=operator_action.application,
        about=operator_action.about,
    )


def find_actions(context: Context, since: int | None, until: int | None, most: int) -> tuple[AuditedAction, ...]:
    """Return the operator actions from a time on and before another, oldest first, each with what the chain says of it.

    Raises `LedgerUnavailableError`.
    """
    return _audited(context, context.ledger.operator_actions.between(since, until, most))


def latest_actions(context: Context, most: int, applications: Collection[str] = ()) -> tuple[AuditedAction, ...]:
    """Return the last operator actions, newest first, each with what the chain says of it.

    Those about some ``applications``, or all where none is named. Raises `LedgerUnavailableError`.
    """
    return _audited(context, context.ledger.operator_actions.latest(most, applications))


def _audited(context: Context, found: Sequence[OperatorActionEntry]) -> tuple[AuditedAction, ...]:
    links = {
        one.entry.row: one
        for one in context.ledger.audit.links_of(operator_actions.name, [action.id for action in found])
    }
    return tuple(AuditedAction(action, _proof(links.get(action.id))) for action in found)


def _proof(link: ChainLink | None) -> AuditStatus:
    if link is None:
        return AuditStatus.UNKNOWN
    return AuditStatus.RECORDED if link.digest and link.entry.matches(link.digest) else AuditStatus.CHANGED


# ``by`` says who does it. All raise `StoreUnavailableError`.

BLOCK_RULE: Final = "block.conversion"
COUNTRY_RULE: Final = "country.conversion"


@dataclass(frozen=True, slots=True)
class Restriction:
    """Something that a rule of the guard keeps from getting messages, and how to lift that."""

    about: str
    """The kind of thing: number, block, country or address."""
    rule: str
    """The one that a decision tells it was lifted of."""
    forget: Callable[[], int]
    """Lifts it; returns how many keys were deleted."""
    application: str = ""
    country: str = ""


def number_restriction(context: Context, to: SubjectKey, applications: Collection[str]) -> Restriction:
    """Return what is held back of a number: its waits and locks at some applications, and what all share."""
    forget = context.store.guard.forget_number
    return Restriction("number", "number.lock", lambda: forget(to.bucket, to.pseudonym, applications))


def block_restriction(context: Context, pseudonym: str) -> Restriction:
    """Return what is held back of a block of numbers, at all applications."""
    return Restriction("block", BLOCK_RULE, lambda: context.store.guard.forget_block(pseudonym))


def country_restriction(context: Context, application: str, country: str) -> Restriction:
    """Return what is held back of a country at an application."""

    def forget() -> int:
        context.store.traffic.lift(application, country)
        return context.store.guard.forget_country(application, country)

    return Restriction("country", COUNTRY_RULE, forget, application, country)


def address_restriction(context: Context, address: str) -> Restriction:
    """Return what is held back of an end user's address; raises `InvalidRequestError`."""
    ip_prefix = ip_prefix_of(address)
    wider = filter(None, (prefix_48_of(ip_prefix), prefix_32_of(ip_prefix)))
    pseudonyms = [context.keyring.network_pseudonym(prefix) for prefix in (ip_prefix, *wider)]
    return Restriction("address", "address.unapproved", lambda: context.store.guard.forget_network(*pseudonyms))


def unblock(context: Context, restriction: Restriction, by: str) -> bool:
    """Let through what rules hold back; return whether they held anything. Raises `LedgerUnavailableError`."""
    operator_action = OperatorActionEntry(
        OperatorAction.GUARD_UNBLOCKED, by, restriction.application, restriction.about
    )
    if not perform_action(context, operator_action, restriction.forget):
        return False
    context.store.decisions.note_lift(
        context.keyring.buckets[0], restriction.rule, restriction.application, restriction.country
    )
    return True


def reset_limits(context: Context, to: SubjectKey, applications: Collection[str], by: str) -> int:
    """Forget what was counted for a number at some applications, and what all share; return how many windows were used.

    Raises `LedgerUnavailableError`.
    """
    operator_action = OperatorActionEntry(OperatorAction.LIMITS_RESET, by, about="number")
    reset = context.store.limits.reset
    return perform_action(context, operator_action, lambda: reset(to.bucket, to.pseudonym, applications))


def rebuild_mirror(context: Context, by: str) -> None:
    """Take the ledger for a new one, and mirror it anew. Raises `LedgerUnavailableError`."""
    context.ledger.operator_actions.add(OperatorActionEntry(OperatorAction.MIRROR_REBUILT, by))
    context.mirror_sync.rebuild()


def pause_gateway(context: Context, name: str, milliseconds: int, by: str) -> None:
    """Let no message through a gateway for some time, whether or not the ledger can record that."""
    context.store.health.open(name, milliseconds, by)
    record_action(context, OperatorActionEntry(OperatorAction.GATEWAY_PAUSED, by, about=name))


def resume_gateway(context: Context, name: str, by: str) -> None:
    """Let messages through a gateway again, whether or not the ledger can record that."""
    context.store.health.close(name)
    record_action(context, OperatorActionEntry(OperatorAction.GATEWAY_RESUMED, by, about=name))


def redrive(
    context: Context, letters: Sequence[DeadLetter], by: str, tell: Callable[[DeadLetter, RedriveResult, str], None]
) -> int:
    """Put dead letters back, whether or not the ledger can record that; tell what became of each, and return how many.

    Letters may be many, and others must not wait: that they were to be put back is recorded before, and what was is
    told by the events.
    """
    if not letters:
        return 0
    applications = {one.member("application") for one in letters}
    application = applications.pop() if len(applications) == 1 else ""
    record_action(
        context, OperatorActionEntry(OperatorAction.MESSAGES_REDRIVEN, by, application, f"dead letters: {len(letters)}")
    )
    count = 0
    for letter in letters:
        became, why_not = context.store.dead_letters.redrive(letter)
        tell(letter, became, why_not)
        count += became is RedriveResult.REDRIVEN
    return count


def fail_over(context: Context, by: str, primary: str = "") -> bool:
    """Let a replica take over as planned (`Server.fail_over`), whether or not the ledger can record that.

    That it was to be done is recorded before, and what came of it after; where there are neither Sentinels nor a
    cluster, nothing is.
    """
    server = context.store.server
    server.require_own()
    server.follow_primary()
    record_action(context, OperatorActionEntry(OperatorAction.FAILOVER_BEGUN, by))
    outcome = "unconfirmed"
    try:
        is_whole = server.fail_over(primary)
        outcome = "nothing lost" if is_whole else outcome
    except ValueError:
        outcome = "refused"
        raise
    finally:
        record_action(context, OperatorActionEntry(OperatorAction.FAILOVER_ENDED, by, about=outcome))
    return is_whole


def fence_store(context: Context, *, restored: bool = False) -> int:
    """Fence the store, whether or not any process serves; return when, in milliseconds by Redis' clock.

    ``restored`` is as `Fences.put` takes it. Raises `StartRefusedError` when the store is another installation's, to
    which nothing is done then, and `StoreUnavailableError`.
    """
    context.store.server.require_own()
    put = context.store.fences.put(restored=restored)
    _log.warning("store_fenced")
    return put
