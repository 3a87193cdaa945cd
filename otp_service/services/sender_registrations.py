"""Registrations of senders and templates that countries require: what may be sent there, and warnings of an end."""

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime

from otp_service.clock import now
from otp_service.domain.applications import Application
from otp_service.domain.sending_rules import Registration, SendingRules
from otp_service.domain.verification import Channel, Purpose
from otp_service.services.context import Context
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


def today() -> date:
    """Return the day by which registrations end: that of UTC, by this host's clock."""
    return datetime.fromtimestamp(now() / 1000, UTC).date()


def require_message_allowed(
    context: Context, application: Application, purpose: Purpose, country: str, channel: str, locale: str
) -> None:
    """Raise `MessageNotAllowedError` when no message of this kind would go out to the country now.

    A worker decides it again for each message: a registration may end meanwhile.
    """
    rules = context.sending_rules.rules_of(country)
    if not rules.registered_senders and not rules.approved_templates:
        return
    wanted = (locale, application.locale)
    words = context.templates.choose(purpose, Channel(channel), *wanted, only=rules.languages)
    context.sending_rules.sender_for(country, channel, application.name, words.reference(Channel(channel)), today())


class RegistrationMonitor:
    """Reports once a day how long registrations last: as a metric, and in the log when one ends soon."""

    def __init__(self, sending_rules: SendingRules, clock: Callable[[], date] = today) -> None:
        self._sending_rules = sending_rules
        self._clock = clock
        self._looked: date | None = None

    def check_daily(self) -> None:
        """Report, once for each day."""
        day = self._clock()
        if day == self._looked:
            return
        self._looked = day
        if not metrics.is_multiprocess():  # there a value stays as long as the process that told it
            metrics.registration_remaining.clear()
        for registration in self._sending_rules.registrations:
            _report_end(registration, day)


def _report_end(registration: Registration, day: date) -> None:
    left = registration.days_left(day)
    if left is None:
        return
    metrics.registration_remaining.set(24 * 3600 * left, country=registration.country, registration=registration.name)
    if not registration.expires_soon(day):
        return
    over = registration.has_expired(day)
    _log.log(
        logging.ERROR if over else logging.WARNING,
        "registration_ended" if over else "registration_ends",
        registration=registration.name,
        country=registration.country,
        days=left,
    )
