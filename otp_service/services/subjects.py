"""Freeze, export and erase a number or an application's user."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.domain.consents import (
    EVERY_APPLICATION,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    active_freezes,
)
from otp_service.domain.numbers import Named
from otp_service.domain.totp import UserKey
from otp_service.domain.verification import Status, Verification
from otp_service.ledger.subjects import Erasure, SubjectData
from otp_service.services.consents import add_silently, recent_verifications
from otp_service.services.context import Context
from otp_service.services.events import record_events
from otp_service.services.factors import end_enrolments
from otp_service.store.events import Decision
from otp_service.store.guard import Counters
from otp_service.store.inbox import WaitingMessage
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)

_FROZEN, _ERASED = "frozen", "erased"
"""Reasons of ended verifications, in events."""


@dataclass(frozen=True, slots=True)
class FreezeStatus:
    """The freezes in force, and the verifications that were ended."""

    entries: tuple[Suppression, ...]
    """Oldest first. For an application, its own and those for all."""
    ended: tuple[str, ...] = ()
    """Identifiers of pending verifications that were ended."""


def freeze(
    context: Context, to: Named, application: str, source: SuppressionSource, reason: str = "", by: str | None = None
) -> FreezeStatus:
    """Freeze a number or user for an application, or `EVERY_APPLICATION`, and end its pending verifications.

    On return nothing starts, no message goes to a gateway and no code is approved, also of verifications too old to be
    ended: a check looks for freezes. Earlier approvals are no evidence any more. ``by`` names the operator, ``None``
    the application itself. A freeze that raises may be recorded, and is in force as soon as Redis and ledger answer.
    """
    entry = Suppression(to.pseudonym, application, SuppressionScope.FROZEN, source, reason)
    add_silently(context, (entry,), _freeze_action(OperatorAction.SUBJECT_FROZEN, by, application))
    ended = tuple(_end_pending(context, to, application, _FROZEN))
    _log.info("subject_frozen", application=application, source=source, ended=len(ended))
    return FreezeStatus(_freezes_in_force(context, to, application), ended)


def unfreeze(
    context: Context, to: Named, application: str, source: SuppressionSource, by: str | None = None
) -> tuple[FreezeStatus, bool]:
    """Lift the freeze of an application, or that for all; return the status, and whether there was a freeze.

    Earlier verifications stay ended: recent ones are ended first, and the mirror refuses checks of the rest.
    """
    entry = Suppression(to.pseudonym, application, SuppressionScope.FROZEN, source, lifted=True)
    if not context.ledger.suppressions.in_force(*entry.key):
        return FreezeStatus(_freezes_in_force(context, to, application)), False
    ended = tuple(_end_pending(context, to, application, _FROZEN))
    add_silently(context, (entry,), _freeze_action(OperatorAction.SUBJECT_UNFROZEN, by, application))
    _log.info("subject_unfrozen", application=application, source=source, ended=len(ended))
    return FreezeStatus(_freezes_in_force(context, to, application), ended), True


def _freeze_action(action: OperatorAction, by: str | None, application: str) -> OperatorActionEntry | None:
    if by is None:
        return None
    return OperatorActionEntry(action, by, "" if application == EVERY_APPLICATION else application)


def _freezes_in_force(context: Context, to: Named, application: str) -> tuple[Suppression, ...]:
    named = None if application == EVERY_APPLICATION else application
    return active_freezes(context.ledger.suppressions.of(to.pseudonym, named))


def _end_pending(context: Context, to: Named, application: str, reason: str) -> Iterator[str]:
    """End the pending ones of the last verifications, of an application or all; yield their identifiers."""
    for verification in recent_verifications(context, to, None if application == EVERY_APPLICATION else application):
        bucket = context.keyring.bucket(verification.pseudonym)
        if verification.status is Status.PENDING:
            cancel = context.store.verifications.cancel
            outcome = cancel(bucket, verification.id, verification.application, reason=reason)
            if isinstance(outcome, Verification):
                yield verification.id


@dataclass(frozen=True, slots=True)
class SubjectExport:
    """The data of a number or user, of an application or all."""

    mask: str
    """Of a number; empty for a user."""
    holding: SubjectData
    """In the ledger."""
    recent: tuple[Verification, ...]
    """Records in Redis, until some minutes after their codes; newest first."""
    refusals: tuple[Decision, ...] = ()
    """Decisions of the guard, also of record-only rules; oldest first."""
    inbox: tuple[WaitingMessage, ...] = ()
    """Messages that wait to be read by support."""
    counters: Mapping[str, Counters] = field(default_factory=dict)
    """Counters in Redis by application; ``*`` for those that all share."""


def export(context: Context, to: Named, application: str | None) -> SubjectExport:
    """Return the data of a number or user, of an application, ``None`` for all."""
    holding = context.ledger.subjects.export(to.pseudonym, application)
    recent = recent_verifications(context, to, application)
    names = [to.pseudonym, *(recorded.id for recorded in holding.verifications), *(record.id for record in recent)]
    refusals = context.store.decisions.of_subject(to.bucket, names)
    inbox = context.store.inbox.of(to.pseudonym)
    shared, own = context.store.guard.counters(to, *_standing_at(context, to, application))
    if isinstance(to, UserKey):
        at_own = own.get(to.application, Counters())
        own = {to.application: replace(at_own, approved=shared.approved, devices=shared.devices)}
    elif application is not None:
        own = {application: replace(own.get(application, Counters()), devices=shared.devices)}
    else:
        own = {EVERY_APPLICATION: shared, **own}
    return SubjectExport(
        getattr(to, "mask", ""),
        holding,
        recent,
        tuple(decision for decision in refusals if application in {None, decision.application}),
        tuple(message for message in inbox if application in {None, message.application}),
        {name: counters for name, counters in own.items() if not counters.is_empty},
    )


def _standing_at(context: Context, to: Named, application: str | None) -> tuple[Sequence[str], str]:
    """Return the applications with a standing of a subject, and the prefix of its devices there, empty for all."""
    if application is None:
        return list(context.applications), ""
    devices = "" if isinstance(to, UserKey) else context.keyring.device_pseudonym(application, "")[:4]
    return [application], devices


def erase(
    context: Context, to: Named, application: str | None, operator_action: OperatorActionEntry | None = None
) -> Erasure:
    """Erase all data that no dispute needs, and record the ``operator_action``.

    Budgets, locks and suppressions stay: otherwise an erasure would buy new guesses. Pending verifications end, and
    earlier approvals are no evidence any more. Redis forgets approvals, known devices, unfinished enrolments and unread
    messages. Consents in events are recorded, without the erased data. Other data expires (docs/subjects.md).
    """
    if isinstance(to, UserKey):
        end_enrolments(context, to)  # first: an app activated until then is recorded, and is removed below
    unread = [message for message in context.store.inbox.of(to.pseudonym) if application in {None, message.application}]
    elsewhere = {"inbox": len(unread)} if unread else {}
    done = context.ledger.subjects.erase(to.pseudonym, application, operator_action, elsewhere)
    for message in unread:  # after the ledger: a message that it did not record stays for a repetition
        context.store.inbox.remove(message.id)
    context.mirror_sync.write_through(done.place, [to.pseudonym])
    ended = tuple(_end_pending(context, to, application or EVERY_APPLICATION, _ERASED))
    context.store.guard.forget_standing(to, *_standing_at(context, to, application))
    for taken in context.store.events.consents(to.bucket, to.pseudonym):
        if application in {None, taken.events[0].member("application")}:
            record_events(context, taken.events)
            context.store.events.acknowledge(taken)
    _log.info("subject_erased", erasure=done.id, application=application or "*", ended=len(ended))
    return done
