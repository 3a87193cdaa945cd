"""Registrations of senders and templates that countries require: which messages may go, and warnings of an end."""

from collections.abc import Callable
from datetime import UTC, date, datetime

from otp_service.clock import now
from otp_service.domain.applications import Application
from otp_service.domain.sending_rules import SendingRules
from otp_service.domain.verification import Channel, Purpose
from otp_service.services.context import Context
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


def today() -> date:
    """Return the current day in UTC, by this host's clock."""
    return datetime.fromtimestamp(now() / 1000, UTC).date()


def require_message_allowed(
    context: Context, application: Application, purpose: Purpose, country: str, channel: str, locale: str
) -> None:
    """Raise `MessageNotAllowedError` for a message that the country does not allow now; a worker decides again."""
    rules = context.sending_rules.rules_of(country)
    if not rules.registered_senders and not rules.approved_templates:
        return
    words = context.templates.choose(purpose, Channel(channel), locale, application.locale, only=rules.languages)
    context.sending_rules.sender_for(country, channel, application.name, words.reference(Channel(channel)), today())


class RegistrationMonitor:
    """Reports once a day how long registrations last: as a metric, and in the log before an end."""

    def __init__(self, sending_rules: SendingRules, clock: Callable[[], date] = today) -> None:
        self._sending_rules = sending_rules
        self._clock = clock
        self._checked: date | None = None

    def check_daily(self) -> None:
        """Report, once for each day."""
        day = self._clock()
        if day == self._checked:
            return
        self._checked = day
        if not metrics.is_multiprocess():  # with several processes a value stays as long as the process that set it
            metrics.registration_remaining.clear()
        for registration in self._sending_rules.registrations:
            name, country, left = registration.name, registration.country, registration.days_left(day)
            if left is None:
                continue
            metrics.registration_remaining.set(24 * 3600 * left, country=country, registration=name)
            if registration.has_expired(day):
                _log.error("registration_ended", registration=name, country=country, days=left)
            elif registration.expires_soon(day):
                _log.warning("registration_ends", registration=name, country=country, days=left)
