"""Record, withdraw and look up consents."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Literal

from otp_service.domain.applications import Application
from otp_service.domain.consents import Consent, ConsentMode, Evidence
from otp_service.domain.numbers import SubjectKey
from otp_service.errors import ConsentNotKeptError, ForbiddenError, InvalidTimeError, StoreUnavailableError
from otp_service.ledger.database import now
from otp_service.services.context import Context
from otp_service.services.subjects import recent_verifications

_MAX_CLOCK_AHEAD = 300_000
"""Milliseconds by which a caller's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class ConsentView:
    """What is recorded of a number and a purpose."""

    mask: str
    purpose: str
    entries: tuple[Consent, ...]
    """Oldest first."""

    @property
    def status(self) -> Literal["given", "withdrawn", "none"]:
        """Whether there is one in force."""
        if not self.entries:
            return "none"
        return "withdrawn" if self.entries[-1].withdrawn else "given"


def give_consent(
    context: Context, application: Application, to: SubjectKey, purpose: str, evidence: Evidence
) -> ConsentView:
    """Record a consent; it is in force when this returns.

    Raises `OtpServiceError`: `ConsentOutdatedError` where it was not given after the last word.
    """
    return _add(context, application, to, make_consent(application, to, purpose, evidence))


def make_consent(application: Application, to: SubjectKey, purpose: str, evidence: Evidence) -> Consent:
    """Return a consent that may be recorded; raises `OtpServiceError`."""
    check_purpose(application, purpose)
    check_evidence(application, evidence)
    return Consent(to.pseudonym, application.name, purpose, evidence)


def end_consent(context: Context, application: Application, to: SubjectKey, purpose: str) -> ConsentView:
    """Record that a consent is withdrawn; queued messages are kept back too when this returns.

    A withdrawal is recorded also where no consent is known: somebody said no. It is newer than consents, too, that came
    with starts, and are not in the ledger yet, by a clock that is ahead of ours. Raises `OtpServiceError`.
    """
    check_purpose(application, purpose)
    said = 0
    with suppress(StoreUnavailableError):  # then it is recorded all the same, and that is not in force yet is told
        started = (one for one in recent_verifications(context, to, application.name) if one.purpose.name == purpose)
        said = max((one.consented for one in started), default=0)
    return _add(context, application, to, Consent(to.pseudonym, application.name, purpose, None, said=said))


def read_consent(context: Context, application: Application, to: SubjectKey, purpose: str) -> ConsentView:
    """Return what is recorded of a number and a purpose; raises `OtpServiceError`."""
    check_purpose(application, purpose)
    entries = context.ledger.consents.of(to.pseudonym, application.name, purpose)
    return ConsentView(to.destination.mask, purpose, entries)


def check_evidence(application: Application, evidence: Evidence) -> None:
    """Raise `ConsentNotKeptError` where no consent is kept, `InvalidTimeError` for one from the future."""
    if application.consent is ConsentMode.OFF:
        raise ConsentNotKeptError("The application is set up to keep no consents.")
    if evidence.given > now() + _MAX_CLOCK_AHEAD:
        raise InvalidTimeError("given_at is in the future.")


def encode_evidence(evidence: Evidence | None) -> str:
    """Return a consent as JSON, for the event of a start; empty without one."""
    return json.dumps(asdict(evidence), ensure_ascii=False, separators=(",", ":")) if evidence else ""


def _add(context: Context, application: Application, to: SubjectKey, entry: Consent) -> ConsentView:
    _, place = context.ledger.consents.add(entry)
    context.mirror_sync.write_through(place)
    return read_consent(context, application, to, entry.purpose)


def check_purpose(application: Application, purpose: str) -> None:
    """Raise `ForbiddenError` for a purpose that is not the application's, `ConsentNotKeptError` where none is kept."""
    if purpose not in application.purposes:
        raise ForbiddenError("The application has no such purpose.")
    if application.consent is ConsentMode.OFF:
        raise ConsentNotKeptError("The application is set up to keep no consents.")
