"""What ``doctor`` finds about registrations: of senders, and of templates."""

from collections.abc import Iterator

from otp_service.cli.findings import Finding, Level
from otp_service.domain.countries import Approval, Registration
from otp_service.services.verifications import today
from otp_service.settings import Settings

_RENEW = "Renew it where it was registered, and correct valid_until."


def registration_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what ends, or has ended."""
    day, found = today(), settings.core_clearance.registrations
    ending = [one for one in found if one.ends_soon(day)]
    for one in ending:
        subject = f"{'approvals' if isinstance(one, Approval) else 'senders'}.{one.name}"
        if one.is_over(day):
            sentence = f"It ended on {one.valid_until}: no message to {one.country} goes out by it."
            yield Finding(Level.FAIL, subject, sentence, _RENEW)
        else:
            yield Finding(Level.WARN, subject, _ending(one), _RENEW)
    if found and not ending:
        yield Finding(Level.OK, "registrations", "No sender and no approval ends within a month.")


def _ending(one: Registration) -> str:
    return f"It is good until {one.valid_until}, its last day; then no message to {one.country} goes out by it."
