"""The rights of the person behind a number: to see what is held of it, and to have erased what is not needed."""

from dataclasses import dataclass

from otp_service.core.verification import Verification
from otp_service.ledger.people import Erasure, Holding
from otp_service.services.context import Context
from otp_service.services.named import Named
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Export:
    """What is held of a number, within one application or all."""

    mask: str
    holding: Holding
    """In the ledger, for as long as the configuration says."""
    passing: tuple[Verification, ...]
    """Verifications that live in Redis, for minutes; the newest first."""


def export(context: Context, to: Named, application: str | None) -> Export:
    """Return what is held of a number, within an application, ``None`` for all; raises `OtpServiceError`."""
    holding = context.ledger.people.export(to.pseudonym, application)
    return Export(to.destination.mask, holding, _passing(context, to, application))


def erase(context: Context, to: Named, application: str | None) -> Erasure:
    """Erase what is not needed to settle disputes; raises `OtpServiceError`.

    No budget, lock or suppression is touched: otherwise an erasure would buy new guesses. What lives in Redis for
    minutes ends by itself.
    """
    done = context.ledger.people.erase(to.pseudonym, application)
    _log.info("subject_erased", erasure=done.id, application=application or "*")
    return done


def _passing(context: Context, to: Named, application: str | None) -> tuple[Verification, ...]:
    recent = context.store.history.recent(to.bucket, to.pseudonym)
    records = (context.store.verifications.read(to.bucket, one.id) for one in recent)
    return tuple(one for one in records if one and (application is None or one.application == application))
