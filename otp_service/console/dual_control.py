"""Dual control: a user requests an action, another user confirms or declines it."""

from contextlib import suppress

from otp_service.clock import now
from otp_service.console.accounts import ConsoleUser, Permission
from otp_service.console.records import (
    DONE,
    NOTHING_LEFT,
    ConsoleUsers,
    DualControlAction,
    DualControlRequest,
    DualControlRequests,
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
    context: Context, user: ConsoleUser, action: DualControlAction, pseudonym: str, application: str, reason: str
) -> str:
    """Request an action that a second user has to confirm; return the name of the request.

    `EVERY_APPLICATION` requires a user without restrictions. Raises `ForbiddenError`, `InvalidRequestError` for an
    unacceptable reason, and `LedgerUnavailableError`.
    """
    _require_permission(user, application)
    if not reason or not is_reason(reason):
        raise InvalidRequestError("A reason is needed, of at most 200 characters, without a phone number.")
    request = DualControlRequest(action, pseudonym, application, user.name, reason)
    name = DualControlRequests(context.ledger.database).ask(request)
    _log.info("dual_control_requested", act=str(action), application=application)
    return name


def confirm(context: Context, user: ConsoleUser, name: str, pseudonym: str) -> bool:
    """Confirm another user's request and perform the action; return whether it had an effect.

    ``pseudonym`` is of the number on the confirming user's page, so that only a viewed number is confirmed. Of
    concurrent confirmations one performs the action. After a failure the request is open again, at once or, if that
    cannot be recorded either, after `TAKEN_FOR`; all actions may be repeated.

    Raises `ConflictError` for a request that was decided, that expired, or whose user lost the permission;
    `ForbiddenError`; `LedgerUnavailableError`; and `StoreUnavailableError`: the action may be recorded then, and takes
    effect when Redis answers.
    """
    requests = DualControlRequests(context.ledger.database)
    request = _open_request(context, user, name)
    if request.by == user.name:
        raise ForbiddenError("A request is confirmed by another user.")
    if request.pseudonym != pseudonym:
        raise ForbiddenError("The request is for another number.")
    requester = ConsoleUsers(context.ledger.database).find(request.by)
    if requester is None or not requester.is_active:
        raise ConflictError("The requester is not an active user.")
    try:
        _require_permission(requester, request.application)
    except ForbiddenError as changed:
        raise ConflictError("The requester lost the permission.") from changed
    taken = requests.take(request.id, user.name)
    if taken is None:
        raise ConflictError("The request is no longer open: it was decided, withdrawn or has expired.")
    try:
        was_done = _do(context, taken)
    except BaseException:
        _log.warning("dual_control_failed", act=str(taken.action), application=taken.application)
        with suppress(LedgerUnavailableError):
            requests.reopen(taken)
        raise
    with suppress(LedgerUnavailableError):  # it is done, and may be done once more
        requests.finish(taken, DONE if was_done else NOTHING_LEFT)
    _log.info("dual_control_confirmed", act=str(taken.action), application=taken.application, done=was_done)
    return was_done


def decline(context: Context, user: ConsoleUser, name: str) -> None:
    """Decline a request, or withdraw an own one. Raises as `confirm` does."""
    request = _open_request(context, user, name)
    if not DualControlRequests(context.ledger.database).decline(request.id, user.name):
        raise ConflictError("The request is no longer open: it was decided, withdrawn or has expired.")
    _log.info("dual_control_declined", act=str(request.action), application=request.application)


def _open_request(context: Context, user: ConsoleUser, name: str) -> DualControlRequest:
    request = DualControlRequests(context.ledger.database).find(name)
    if request is None or not request.is_open(now()):
        raise ConflictError("The request is no longer open: it was decided, withdrawn or has expired.")
    _require_permission(user, request.application)
    return request


def _require_permission(user: ConsoleUser, application: str) -> None:
    if not user.may(Permission.ERASE) or not user.sees(application):
        raise ForbiddenError("Your role does not allow this.")


def _do(context: Context, request: DualControlRequest) -> bool:
    """Perform the action in the name of both users; return whether it had an effect."""
    to = SubjectName(request.pseudonym, context.keyring.bucket(request.pseudonym))
    application, by = request.application, f"console:{request.by} with {request.decided_by}"
    every = application == EVERY_APPLICATION
    match request.action:
        case DualControlAction.ERASE:
            operator_action = OperatorActionEntry(OperatorAction.SUBJECT_ERASED, by, "" if every else application)
            erase(context, to, None if every else application, operator_action)
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
