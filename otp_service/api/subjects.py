"""Data subjects: freeze, export, erasure. The number, or the user, is in the body, never in an address."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otp_service.api.exchange import Exchange
from otp_service.api.factors import USER_EXAMPLE, FactorAnswer, UserBody, factor_answer, read_user
from otp_service.api.requests import read_number
from otp_service.api.routes import COMMON_PROBLEMS, NUMBER_PROBLEMS, Resource
from otp_service.api.schemas import NUMBER_EXAMPLE, NumberBody, Reason
from otp_service.domain.applications import KeyScope
from otp_service.domain.consents import EVERY_APPLICATION, SuppressionSource
from otp_service.domain.numbers import SubjectKey
from otp_service.ledger.subjects import Erasure
from otp_service.services.exports import (
    CountersAnswer,
    ErasureAnswer,
    RecordedWebhookAnswer,
    SubjectExportAnswer,
    SuppressionAnswer,
    counters_answer,
    erasure_answers,
    event_answers,
    export_answer,
    suppression_answer,
    webhook_answers,
)
from otp_service.services.factors import view_of
from otp_service.services.json_types import Time
from otp_service.services.subjects import FreezeStatus, erase, export, freeze, unfreeze


class FreezeBody(
    NumberBody, json_schema_extra={"examples": [NUMBER_EXAMPLE | {"reason": "customer reports fraud, case A-17"}]}
):
    """A number with reported fraud."""

    reason: Reason = ""
    """The reason, for later questions; no personal data."""


@dataclass(frozen=True, slots=True)
class FreezeAnswer:
    """Whether a number is frozen."""

    to: str
    """The number, masked."""
    frozen: bool
    """Whether nothing starts, goes out or is approved for it within the application."""
    everywhere: bool
    """Whether the operator has frozen it for all applications, which only the operator lifts."""
    since: Time | None
    """Its beginning; null when the number is not frozen."""
    reason: str | None
    """The last reason; null without one."""
    ended: tuple[str, ...]
    """Identifiers of pending verifications that this call ended."""


subjects = Resource("subjects", "Subjects", KeyScope.SUBJECTS, problems=NUMBER_PROBLEMS, asks_ledger=True)


@subjects.route("POST /v1/subjects/freeze", {200: "Whether the number is frozen."})
def freeze_subject(exchange: Exchange, body: FreezeBody) -> FreezeAnswer:
    """Freeze a number.

    For a customer who reports fraud. Once this is answered no code of the number is approved for the application, its
    last verifications are canceled where they are pending, no message is handed to a gateway, and starts and resends
    are refused as `recipient-frozen`, until the freeze is lifted. Earlier proofs of the number are not accepted any
    more, even afterwards. Other applications' verifications are left alone. To freeze again does no harm, and cancels
    again what is pending.
    """
    to = read_number(exchange, body)
    return _freeze(to, freeze(exchange.context, to, exchange.application.name, SuppressionSource.API, body.reason))


@subjects.route("POST /v1/subjects/unfreeze", {200: "Whether the number is frozen."})
def unfreeze_subject(exchange: Exchange, body: NumberBody) -> FreezeAnswer:
    """Lift a freeze.

    Lets verifications of the number start again within the application. What was pending before stays ended, and what
    the operator froze for all stays frozen: then `frozen` is still true.
    """
    to = read_number(exchange, body)
    status, _ = unfreeze(exchange.context, to, exchange.application.name, SuppressionSource.API)
    return _freeze(to, status)


@subjects.route("POST /v1/subjects/export", {200: "All of it."})
def export_subject(exchange: Exchange, body: NumberBody) -> SubjectExportAnswer:
    """Show what is held.

    Shows all that is held of a number within the application: for the person who asks for it.
    """
    return export_answer(export(exchange.context, read_number(exchange, body), exchange.application.name))


@subjects.route("POST /v1/subjects/erase", {200: "What was done."})
def erase_subject(exchange: Exchange, body: NumberBody) -> ErasureAnswer:
    """Erase what is not needed.

    Erases what no dispute needs of a number within the application; the rest stays under a pseudonym, and the answer
    says why. No limit, lock or suppression is touched. Pending verifications are canceled, and earlier proofs of the
    number are not accepted any more.
    """
    return _erasure(erase(exchange.context, read_number(exchange, body), exchange.application.name))


class UserFreezeBody(UserBody, json_schema_extra={"examples": [USER_EXAMPLE | {"reason": "phone stolen, case A-17"}]}):
    """A user with reported fraud."""

    reason: Reason = ""
    """The reason, for later questions; no personal data."""


@dataclass(frozen=True, slots=True)
class UserFreezeAnswer:
    """Whether a user is frozen."""

    frozen: bool
    """Whether nothing starts for the user, and no code is accepted."""
    since: Time | None
    """Its beginning; null when the user is not frozen."""
    ended: tuple[str, ...]
    """Identifiers of pending verifications that this call ended."""


@dataclass(frozen=True, slots=True)
class FactorChangeAnswer:
    """A change of a factor."""

    factor: str
    change: str
    """`activated`, `removed`, `resealed`, or `step_reset`: a clock had run ahead."""
    reason: str | None
    """Why it was removed, in one word; null where a code removed it."""
    at: Time


@dataclass(frozen=True, slots=True)
class RecordedRecoveryCodeAnswer:
    """A recovery code as recorded, without the code itself."""

    made_at: Time
    ended_at: Time | None
    """When it was used, or replaced by a new series."""
    used: bool


@dataclass(frozen=True, slots=True)
class UserExportAnswer:
    """All that is held of a user, whose name is not held. docs/subjects.md lists what is not shown."""

    factors: tuple[FactorAnswer, ...]
    """Also those that were removed."""
    factor_changes: tuple[FactorChangeAnswer, ...]
    """Oldest first."""
    recovery_codes: tuple[RecordedRecoveryCodeAnswer, ...]
    suppressions: tuple[SuppressionAnswer, ...]
    """Freezes."""
    webhooks: tuple[RecordedWebhookAnswer, ...]
    """Webhooks to the application, as long as they are kept."""
    events: tuple[Mapping[str, Any], ...]
    """Oldest first: `type`, `at`, the `factor` (empty for a recovery code), and the type's own members."""
    counters: CountersAnswer | None
    erasures: tuple[ErasureAnswer, ...]
    recent: tuple[str, ...]
    """Identifiers of verifications that name the user and are in Redis, until some minutes after their codes."""


users = Resource(
    "users", "Subjects", KeyScope.SUBJECTS, problems=(*COMMON_PROBLEMS, "ledger-mismatch"), asks_ledger=True
)


@users.route("POST /v1/users/freeze", {200: "Whether the user is frozen."})
def freeze_user(exchange: Exchange, body: UserFreezeBody) -> UserFreezeAnswer:
    """Freeze a user.

    For a customer who reports fraud. Once this is answered no code of the user's authenticator apps and no recovery
    code is accepted, verifications that name the `user` are canceled where they are pending, and starts are refused as
    `recipient-frozen`, until the freeze is lifted. Earlier proofs of the user are not accepted any more, even
    afterwards. The user's number is left alone: freeze it too.
    """
    user = read_user(exchange, body)
    return _user_freeze(freeze(exchange.context, user, user.application, SuppressionSource.API, body.reason))


@users.route("POST /v1/users/unfreeze", {200: "Whether the user is frozen."})
def unfreeze_user(exchange: Exchange, body: UserBody) -> UserFreezeAnswer:
    """Lift the freeze of a user."""
    user = read_user(exchange, body)
    status, _ = unfreeze(exchange.context, user, user.application, SuppressionSource.API)
    return _user_freeze(status)


@users.route("POST /v1/users/export", {200: "All of it."})
def export_user(exchange: Exchange, body: UserBody) -> UserExportAnswer:
    """Show what is held of a user.

    For the person who asks for it.
    """
    user = read_user(exchange, body)
    exported = export(exchange.context, user, user.application)
    data = exported.holding
    return UserExportAnswer(
        factors=tuple(factor_answer(view_of(exchange.context, factor)) for factor in data.factors),
        factor_changes=tuple(
            FactorChangeAnswer(row["factor"], row["change"], row["reason"] or None, row["recorded"])
            for row in data.factor_changes
        ),
        recovery_codes=tuple(
            RecordedRecoveryCodeAnswer(code.made, code.ended, code.used) for code in data.recovery_codes
        ),
        suppressions=tuple(map(suppression_answer, data.suppressions)),
        webhooks=webhook_answers(data),
        events=event_answers(data.events),
        counters=counters_answer(exported),
        erasures=erasure_answers(data),
        recent=tuple(verification.id for verification in exported.recent),
    )


@users.route("POST /v1/users/erase", {200: "What was done."})
def erase_user(exchange: Exchange, body: UserBody) -> ErasureAnswer:
    """Erase a user.

    Removes the user's authenticator apps and recovery codes: secrets and labels are gone. That there were any stays,
    under a pseudonym. No lock is touched. Pending verifications that name the user are canceled, and earlier proofs of
    the user are not accepted any more.
    """
    return _erasure(erase(exchange.context, read_user(exchange, body), exchange.application.name))


def _user_freeze(status: FreezeStatus) -> UserFreezeAnswer:
    entries = status.entries
    return UserFreezeAnswer(bool(entries), entries[0].recorded if entries else None, status.ended)


def _freeze(to: SubjectKey, status: FreezeStatus) -> FreezeAnswer:
    entries = status.entries
    return FreezeAnswer(
        to=to.destination.mask,
        frozen=bool(entries),
        everywhere=any(entry.application == EVERY_APPLICATION for entry in entries),
        since=entries[0].recorded if entries else None,
        reason=(entries[-1].reason or None) if entries else None,
        ended=status.ended,
    )


def _erasure(erasure: Erasure) -> ErasureAnswer:
    return ErasureAnswer(erasure.at, erasure.erased, erasure.kept, erasure.reason)
