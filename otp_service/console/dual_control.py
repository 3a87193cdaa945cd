"""What takes two people: one asks, another one confirms or declines; then it is done."""

from contextlib import suppress

from otp_service.clock import now
from otp_service.console.accounts import ConsoleUser, Permission
from otp_service.console.records import (
    DONE,
    NOTHING_LEFT,
    ConsoleUsers,
    DualControlAction,
    DualControlRequest,
    SecondPersonRequests,
)
from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.domain.consents import EVERY_APPLICATION, Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.numbers import SubjectName
from otp_service.errors import ConflictError, ForbiddenError, InvalidRequestError, LedgerUnavailableError
from otp_service.services.consents import is_reason, lift
from otp_service.services.context import Context
from otp_service.services.subjects import erase, unfreeze
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


def ask(
    context: Context, user: ConsoleUser, act: DualControlAction, pseudonym: str, application: str, reason: str
) -> str:
    """Ask for something, for a second person to confirm; return the name of the request.

    For all applications (`EVERY_APPLICATION`) only somebody who sees all may ask. Raises `ForbiddenError`,
    `InvalidRequestError` for a reason that cannot be kept, and `LedgerUnavailableError`.
    """
    _require_permission(user, application)
    if not reason or not is_reason(reason):
        raise InvalidRequestError("A reason is needed, of at most 200 characters, without a phone number.")
    request = DualControlRequest(act, pseudonym, application, user.name, reason)
    name = SecondPersonRequests(context.ledger.database).ask(request)
    _log.info("second_person_asked", act=str(act), application=application)
    return name


def confirm(context: Context, user: ConsoleUser, name: str, pseudonym: str) -> bool:
    """Do what somebody else asked for about a number; return whether there was anything to do.

    ``pseudonym`` is that of the number that the second person looks at: nobody confirms what he has not seen. Of two
    who confirm at once one does it. What cannot be done is open again, at once or, where that cannot be recorded
    either, after `TAKEN_FOR`; all acts may be done twice.

    Raises `ConflictError` for a request that was decided, or that nobody decided in time, or whose asker may not ask
    any more; `ForbiddenError`; `LedgerUnavailableError`; and `StoreUnavailableError`: then it may be recorded, and is
    in force as soon as Redis answers.
    """
    requests = SecondPersonRequests(context.ledger.database)
    request = _open_request(context, user, name)
    if request.by == user.name:
        raise ForbiddenError("Nobody confirms what he asked for.")
    if request.pseudonym != pseudonym:
        raise ForbiddenError("The request is about another number.")
    _require_entitled(context, request)
    taken = requests.take(request.id, user.name)
    if taken is None:
        raise ConflictError("The request is over.")
    try:
        was_done = _do(context, taken)
    except BaseException:
        _log.warning("second_person_act_failed", act=str(taken.act), application=taken.application)
        with suppress(LedgerUnavailableError):
            requests.give_back(taken)
        raise
    with suppress(LedgerUnavailableError):  # it is done, and may be done once more
        requests.finish(taken, DONE if was_done else NOTHING_LEFT)
    _log.info("second_person_confirmed", act=str(taken.act), application=taken.application, done=was_done)
    return was_done


def decline(context: Context, user: ConsoleUser, name: str) -> None:
    """Decline what somebody asked for, or take back what the user asked for himself.

    Raises as `confirm` does.
    """
    request = _open_request(context, user, name)
    if not SecondPersonRequests(context.ledger.database).decline(request.id, user.name):
        raise ConflictError("The request is over.")
    _log.info("second_person_declined", act=str(request.act), application=request.application)


def _open_request(context: Context, user: ConsoleUser, name: str) -> DualControlRequest:
    request = SecondPersonRequests(context.ledger.database).find(name)
    if request is None or not request.is_open(now()):
        raise ConflictError("The request is over.")
    _require_permission(user, request.application)
    return request


def _require_permission(user: ConsoleUser, application: str) -> None:
    if not user.may(Permission.ERASE) or not user.sees(application):
        raise ForbiddenError("Your role does not allow this.")


def _require_entitled(context: Context, request: DualControlRequest) -> None:
    """Refuse what somebody asked for who may not ask for it any more: he was disabled, or has other work."""
    asker = ConsoleUsers(context.ledger.database).find(request.by)
    if asker is None or not asker.is_active:
        raise ConflictError("Whoever asked is not a user any more.")
    try:
        _require_permission(asker, request.application)
    except ForbiddenError as changed:
        raise ConflictError("Whoever asked may not ask for this any more.") from changed


def _do(context: Context, request: DualControlRequest) -> bool:
    """Do what was asked for, by both; return whether there was anything to do."""
    to = SubjectName(request.pseudonym, context.keyring.bucket(request.pseudonym))
    application, by = request.application, f"console:{request.by} with {request.decided_by}"
    every = application == EVERY_APPLICATION
    match request.act:
        case DualControlAction.ERASE:
            act = OperatorActionEntry(OperatorAction.SUBJECT_ERASED, by, "" if every else application)
            erase(context, to, None if every else application, act)
            return True
        case DualControlAction.UNFREEZE:
            return unfreeze(context, to, application, SuppressionSource.OPERATOR, by)[1]
        case DualControlAction.LIFT_SUPPRESSION:
            scope, source = SuppressionScope.ALL, SuppressionSource.OPERATOR
            entry = Suppression(to.pseudonym, application, scope, source, request.reason, lifted=True)
            lifting = OperatorActionEntry(
                OperatorAction.SUPPRESSION_LIFTED, by, "" if every else application, str(scope)
            )
            return lift(context, entry, lifting)
