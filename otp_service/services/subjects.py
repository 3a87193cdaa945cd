"""Export and erase what is held of a number."""

from collections.abc import Mapping
from dataclasses import dataclass

from otp_service.domain.consents import Consent
from otp_service.domain.numbers import SubjectKey
from otp_service.domain.operator_actions import OperatorActionEntry
from otp_service.domain.suppressions import Suppression
from otp_service.domain.verification import Verification
from otp_service.ledger.subjects import Erasure, SubjectData
from otp_service.ledger.traffic import RecordedVerification
from otp_service.services.context import Context
from otp_service.services.events import record_events
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SubjectExport:
    """What is held of a number, within one application or all."""

    mask: str
    holding: SubjectData
    """In the ledger, for as long as the configuration says."""
    recent: tuple[Verification, ...]
    """Verifications whose records are in Redis, until some minutes after their codes; the newest first."""


def export(context: Context, to: SubjectKey, application: str | None) -> SubjectExport:
    """Return what is held of a number, within an application, ``None`` for all; raises `OtpServiceError`."""
    holding = context.ledger.subjects.export(to.pseudonym, application)
    return SubjectExport(to.destination.mask, holding, recent_verifications(context, to, application))


def split_by_application(found: SubjectExport) -> Mapping[str, SubjectExport]:
    """Return an export of all applications as one of each of them, by name; what is of all of them is under ``*``."""
    held = found.holding
    rows: tuple[RecordedVerification | Consent | Suppression | Verification, ...] = (
        *held.verifications,
        *held.consents,
        *held.suppressions,
        *found.recent,
    )
    names = {one.application for one in rows} | {one["application"] for one in (*held.inbound, *held.erasures)}
    return {name: _part(found, name) for name in sorted(names)}


def _part(found: SubjectExport, name: str) -> SubjectExport:
    held = found.holding
    return SubjectExport(
        found.mask,
        SubjectData(
            verifications=tuple(one for one in held.verifications if one.application == name),
            consents=tuple(one for one in held.consents if one.application == name),
            suppressions=tuple(one for one in held.suppressions if one.application == name),
            inbound=tuple(one for one in held.inbound if one["application"] == name),
            erasures=tuple(one for one in held.erasures if one["application"] == name),
        ),
        tuple(one for one in found.recent if one.application == name),
    )


def erase(context: Context, to: SubjectKey, application: str | None, act: OperatorActionEntry | None = None) -> Erasure:
    """Erase what is not needed to settle disputes, and record an operator's ``act``; raises `OtpServiceError`.

    No budget, lock or suppression is touched: otherwise an erasure would buy new guesses. Consents that wait in Redis
    are recorded, without what is erased. What else is there ends by itself: records some minutes after their codes,
    the event stream after ``streams.retention_days``.
    """
    done = context.ledger.subjects.erase(to.pseudonym, application, act)
    context.mirror_sync.write_through(done.place)
    for taken in context.store.events.consents(to.bucket, to.pseudonym):
        if application in {None, taken.events[0].member("application")}:
            record_events(context, taken.events)
            context.store.events.acknowledge(taken)
    _log.info("subject_erased", erasure=done.id, application=application or "*")
    return done


def recent_verifications(context: Context, to: SubjectKey, application: str | None) -> tuple[Verification, ...]:
    """Return the last verifications of a number that are in Redis, within an application, ``None`` for all."""
    recent = context.store.history.recent(to.bucket, to.pseudonym)
    records = (context.store.verifications.read(to.bucket, one.id) for one in recent)
    return tuple(one for one in records if one and (application is None or one.application == application))
