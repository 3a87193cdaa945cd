"""Announce that registrations end, before and after: once a day in the log, always in the metrics."""

import logging
from collections.abc import Callable
from datetime import date

from otp_service.domain.countries import Clearance, Registration
from otp_service.services.clearance import today
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


class Announcer:
    """Looks at the registrations once a day."""

    def __init__(self, clearance: Clearance, clock: Callable[[], date] = today) -> None:
        self._clearance = clearance
        self._clock = clock
        self._looked: date | None = None

    def turn(self) -> None:
        """Look, if the day is another than at the last look."""
        day = self._clock()
        if day == self._looked:
            return
        self._looked = day
        if not metrics.is_shared():  # there a value stays as long as the process that told it
            metrics.forget_registrations()
        for registration in self._clearance.registrations:
            _announce(registration, day)


def _announce(registration: Registration, day: date) -> None:
    left = registration.days_left(day)
    if left is None:
        return
    metrics.record_registration(registration.country, registration.name, left)
    if not registration.ends_soon(day):
        return
    over = registration.is_over(day)
    _log.log(
        logging.ERROR if over else logging.WARNING,
        "registration_ended" if over else "registration_ends",
        registration=registration.name,
        country=registration.country,
        days=left,
    )
