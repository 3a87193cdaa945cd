"""Record that somebody agreed to codes, or does so no more; and what was recorded."""

import json
from dataclasses import asdict, dataclass
from typing import Literal

from otp_service.core.application import Application
from otp_service.core.consent import Consent, ConsentMode, Evidence
from otp_service.core.errors import ConsentNotKeptError, ForbiddenError, InvalidTimeError
from otp_service.ledger.clock import now
from otp_service.services.context import Context
from otp_service.services.named import Named

_AHEAD = 300_000
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


def give(context: Context, application: Application, to: Named, purpose: str, evidence: Evidence) -> ConsentView:
    """Record a consent; it is in force when this returns. Raises `OtpServiceError`."""
    judge_evidence(application, evidence)
    return _record(context, application, to, purpose, evidence)


def withdraw(context: Context, application: Application, to: Named, purpose: str) -> ConsentView:
    """Record that a consent is withdrawn; queued messages are kept back too when this returns.

    A withdrawal is recorded also where no consent is known: somebody said no. Raises `OtpServiceError`.
    """
    return _record(context, application, to, purpose, None)


def read_consent(context: Context, application: Application, to: Named, purpose: str) -> ConsentView:
    """Return what is recorded of a number and a purpose; raises `OtpServiceError`."""
    _judge(application, purpose)
    entries = context.ledger.consents.of(to.pseudonym, application.name, purpose)
    return ConsentView(to.destination.mask, purpose, entries)


def judge_evidence(application: Application, evidence: Evidence) -> None:
    """Refuse a consent where none is kept, and one that was given in the future; raises `OtpServiceError`."""
    if application.consent is ConsentMode.OFF:
        raise ConsentNotKeptError("The application is set up to keep no consents.")
    if evidence.given > now() + _AHEAD:
        raise InvalidTimeError("given_at is in the future.")


def packed(evidence: Evidence | None) -> str:
    """Return a consent as it travels with the event of a start; empty without one."""
    return json.dumps(asdict(evidence), ensure_ascii=False, separators=(",", ":")) if evidence else ""


def _record(
    context: Context, application: Application, to: Named, purpose: str, evidence: Evidence | None
) -> ConsentView:
    _judge(application, purpose)
    entry = Consent(to.pseudonym, application.name, purpose, evidence)
    _, place = context.ledger.consents.add(entry)
    context.reflection.write_through((to.pseudonym,), 1, place)
    return read_consent(context, application, to, purpose)


def _judge(application: Application, purpose: str) -> None:
    if purpose not in application.purposes:
        raise ForbiddenError("The application has no such purpose.")
    if application.consent is ConsentMode.OFF:
        raise ConsentNotKeptError("The application is set up to keep no consents.")
