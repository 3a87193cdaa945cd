"""Operator actions on Redis, each recorded in the ledger unless nothing changed."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.domain.numbers import SubjectKey, ip_prefix_of, wider_prefix
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.schema import operator_actions
from otp_service.services.context import Context
from otp_service.store.events import LIFTED
from otp_service.store.outbox import DeadLetter, RedriveResult
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


class AuditStatus(StrEnum):
    """The audit chain's evidence for an operator's action."""

    RECORDED = "recorded"
    UNKNOWN = "unknown"
    """The chain has no entry of the row: it was not written by this service."""
    CHANGED = "changed"
    """The row was changed after it was recorded."""


@dataclass(frozen=True, slots=True)
class AuditedAction:
    """A recorded action, and its evidence in the audit chain."""

    entry: OperatorActionEntry
    proof: AuditStatus


def record_action(context: Context, operator_action: OperatorActionEntry) -> bool:
    """Record an action that is done already, in the ledger or else in the log; return whether the ledger has it."""
    try:
        context.ledger.operator_actions.add(operator_action)
    except LedgerUnavailableError:
        _log_unrecorded(operator_action)
        return False
    return True


def perform_action(context: Context, operator_action: OperatorActionEntry, do: Callable[[], int]) -> int:
    """Change something outside the ledger, and record it if anything changed; return the number of changes.

    An action that may be done before a `LedgerUnavailableError` is in the log.
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
        target=operator_action.target,
    )


def find_actions(context: Context, since: int | None, until: int | None, max_actions: int) -> tuple[AuditedAction, ...]:
    """Return the operator actions from a time on and before another, oldest first."""
    return _audited(context, context.ledger.operator_actions.between(since, until, max_actions))


def latest_actions(context: Context, max_actions: int, applications: Collection[str] = ()) -> tuple[AuditedAction, ...]:
    """Return the last operator actions on ``applications``, or all, newest first."""
    return _audited(context, context.ledger.operator_actions.latest(max_actions, applications))


def _audited(context: Context, actions: Sequence[OperatorActionEntry]) -> tuple[AuditedAction, ...]:
    statuses = {
        link.entry.row: AuditStatus.RECORDED if link.digest and link.entry.matches(link.digest) else AuditStatus.CHANGED
        for link in context.ledger.audit.links_of(operator_actions.name, [action.id for action in actions])
    }
    return tuple(AuditedAction(action, statuses.get(action.id, AuditStatus.UNKNOWN)) for action in actions)


# ``by`` names the operator.

BLOCK_RULE: Final = "block.conversion"
COUNTRY_RULE: Final = "country.conversion"


@dataclass(frozen=True, slots=True)
class Restriction:
    """A subject that a rule of the guard blocks, and how to unblock it."""

    kind: str
    """``number``, ``block``, ``country`` or ``address``."""
    rule: str
    """The rule named by the decision that records the lifting."""
    forget: Callable[[], int]
    """Unblocks the subject; returns the number of deleted keys."""
    application: str = ""
    country: str = ""


def number_restriction(context: Context, to: SubjectKey, applications: Collection[str]) -> Restriction:
    """Return the waits and locks of a number, at some applications and those that all share."""
    forget = context.store.guard.forget_number
    return Restriction("number", "number.lock", lambda: forget(to.bucket, to.pseudonym, applications))


def block_restriction(context: Context, pseudonym: str) -> Restriction:
    return Restriction("block", BLOCK_RULE, lambda: context.store.guard.forget_block(pseudonym))


def country_restriction(context: Context, application: str, country: str) -> Restriction:
    def forget() -> int:
        context.store.traffic.lift(application, country)
        return context.store.guard.forget_country(application, country)

    return Restriction("country", COUNTRY_RULE, forget, application, country)


def address_restriction(context: Context, address: str) -> Restriction:
    """Return the restriction of an end user's address; raises `InvalidRequestError`."""
    ip_prefix = ip_prefix_of(address)
    wider = filter(None, (wider_prefix(ip_prefix, 48), wider_prefix(ip_prefix, 32)))
    pseudonyms = [context.keyring.network_pseudonym(prefix) for prefix in (ip_prefix, *wider)]
    return Restriction("address", "address.unapproved", lambda: context.store.guard.forget_network(*pseudonyms))


def unblock(context: Context, restriction: Restriction, by: str) -> bool:
    """Lift a restriction; return whether there was any."""
    operator_action = OperatorActionEntry(OperatorAction.GUARD_UNBLOCKED, by, restriction.application, restriction.kind)
    if not perform_action(context, operator_action, restriction.forget):
        return False
    bucket, rule = context.keyring.buckets[0], restriction.rule
    context.store.decisions.note(bucket, rule, restriction.application, country=restriction.country, mode=LIFTED)
    return True


def reset_limits(context: Context, to: SubjectKey, applications: Collection[str], by: str) -> int:
    """Reset a phone number's limits, of applications and shared ones; return how many windows were used."""
    operator_action = OperatorActionEntry(OperatorAction.LIMITS_RESET, by, target="number")
    reset = context.store.limits.reset
    return perform_action(context, operator_action, lambda: reset(to.bucket, to.pseudonym, applications))


def rebuild_mirror(context: Context, by: str) -> None:
    """Treat the ledger as new, and mirror it again."""
    context.ledger.operator_actions.add(OperatorActionEntry(OperatorAction.MIRROR_REBUILT, by))
    context.mirror_sync.rebuild()


def pause_gateway(context: Context, name: str, milliseconds: int, by: str) -> None:
    """Pause a gateway for some time, whether or not the ledger can record it."""
    context.store.health.open(name, milliseconds, by)
    record_action(context, OperatorActionEntry(OperatorAction.GATEWAY_PAUSED, by, target=name))


def resume_gateway(context: Context, name: str, by: str) -> None:
    """Resume a gateway, whether or not the ledger can record it."""
    context.store.health.close(name)
    record_action(context, OperatorActionEntry(OperatorAction.GATEWAY_RESUMED, by, target=name))


def redrive(
    context: Context, letters: Sequence[DeadLetter], by: str, report: Callable[[DeadLetter, RedriveResult, str], None]
) -> int:
    """Put dead letters back, whether or not the ledger can record it; report each, and return how many were put back.

    The action is recorded before: letters may be many, and other actions must not wait. Events record each result.
    """
    if not letters:
        return 0
    applications = {letter.member("application") for letter in letters}
    application = applications.pop() if len(applications) == 1 else ""
    record_action(
        context, OperatorActionEntry(OperatorAction.MESSAGES_REDRIVEN, by, application, f"dead letters: {len(letters)}")
    )
    count = 0
    for letter in letters:
        result, why_not = context.store.dead_letters.redrive(letter)
        report(letter, result, why_not)
        count += result is RedriveResult.REDRIVEN
    return count


def fail_over(context: Context, by: str, primary: str = "") -> bool:
    """Promote a replica as planned (`Server.fail_over`); record start and outcome apart, in the ledger or the log."""
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
        record_action(context, OperatorActionEntry(OperatorAction.FAILOVER_ENDED, by, target=outcome))
    return is_whole


def fence_store(context: Context, *, restored: bool = False) -> int:
    """Fence an own store as `Fences.put` does; return when, in milliseconds by Redis' clock."""
    context.store.server.require_own()
    put = context.store.fences.put(restored=restored)
    _log.warning("store_fenced")
    return put
