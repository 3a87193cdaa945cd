"""Health, purges, the fence, registrations that end, the sandbox."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from otp_service.domain.applications import Application
from otp_service.domain.countries import Clearance, Registration
from otp_service.domain.events import Keeping
from otp_service.domain.people import ConsentMode
from otp_service.errors import NotFoundError, StoreUnavailableError
from otp_service.ledger import database
from otp_service.ledger.retention import RULES, Purge
from otp_service.services.context import Context
from otp_service.services.mirror import MISMATCHES
from otp_service.services.verifications import today
from otp_service.store.inbox import CaughtMessage
from otp_service.store.mirror import Fence
from otp_service.store.scripts import hindrance_of
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger
from otp_service.telemetry.redaction import Count

ACCEPTED: Final = "accepted"
"""What is told of starts that are not all refused."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a process can do now, and what was found."""

    checks: bool
    """Whether it checks codes, and takes what gateways report and what people write back."""
    starts: bool
    details: Mapping[str, object]


def readiness(context: Context) -> Readiness:
    """Look whether Redis can serve, and why every start would be refused, if that is so.

    The age of the last worker, and what the last look at the ledger found, are told, not judged: without either, codes
    are still checked.
    """
    worker_age, ledger = None, str(context.reflection.state)
    try:
        starts = _closed(context) or ACCEPTED
        worker_age, redis = context.store.server.worker_age(), "ok"
    except StoreUnavailableError as lost:
        starts, redis = f"redis-{hindrance_of(lost)}", "unavailable"
    details = {"redis": redis, "worker_age": worker_age, "ledger": ledger, "starts": starts}
    return Readiness(checks=redis == "ok", starts=starts == ACCEPTED, details=details)


def _closed(context: Context) -> str | None:
    """Return why every start would be refused now; ``None`` when none is for that."""
    if context.reflection.state in MISMATCHES:
        return f"mirror-{context.reflection.state}"
    if not context.reflection.is_known:
        return "ledger-unknown"
    permission = context.reflection.permission(ConsentMode.OFF)
    return context.store.verifications.closed(permission, context.keyring.buckets)


_log = get_logger(__name__)


class Purging:
    """Purges of one process, which take turns with those of others."""

    def __init__(self, context: Context, keeping: Keeping, rest: Callable[[], bool]) -> None:
        """``rest`` is called after each batch, for others to have their turn, and tells whether to stop there."""
        self._context = context
        self._keeping = keeping
        self._rest = rest
        self.gone: dict[str, int] = {}
        """Rows that the present purge deleted, or the last one, by class of data."""

    def turn(self) -> None:
        """Purge, if no process has in the last hour; raise `LedgerUnavailableError` or `StoreUnavailableError`."""
        now = self._now()
        if self._context.ledger.purges.take_turn(now):
            for data, rows in self._purge(now).items():
                if rows:
                    _log.info("purged", records=data, rows=Count(rows))

    def at_once(self) -> Mapping[str, int]:
        """Purge whether or not it is due; return how many rows went, by class of data; raise as `turn` does."""
        now = self._now()
        self._context.ledger.purges.begin(now)
        return self._purge(now)

    def _now(self) -> int:
        """Return the earlier time of two clocks: a host that is years ahead must not delete what others keep."""
        return min(database.now(), self._context.store.decisions.now())

    def _purge(self, now: int) -> Mapping[str, int]:
        self.gone = gone = dict.fromkeys(RULES, 0)
        for data in RULES:
            purge = Purge(data, self._keeping.before(data, now), now, self._context.keyring.signer)
            for rows in self._context.ledger.purges.run(purge):
                gone[data] += rows
                if self._rest():
                    return gone
        return gone


def fence(context: Context) -> Fence:
    """Fence the store, whether or not any process serves; return the fence that stands now.

    Raises `StartRefusedError` when the store is another installation's, to which nothing is done then, and
    `StoreUnavailableError`.
    """
    context.store.server.require_own()
    put = context.store.fences.put()
    _log.warning("store_fenced", cautious_for=(put.until - put.now) // 1000)
    return put


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
            metrics.registration_days.clear()
        for registration in self._clearance.registrations:
            _announce(registration, day)


def _announce(registration: Registration, day: date) -> None:
    left = registration.days_left(day)
    if left is None:
        return
    metrics.registration_days.set(left, country=registration.country, registration=registration.name)
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


KIND = "sandbox"


def caught_messages(context: Context, application: Application, verification_id: str | None) -> list[CaughtMessage]:
    """Return an application's caught messages, newest first: of one verification, or the last 100.

    Raises `NotFoundError` where no sandbox gateway is configured.
    """
    if not any(gateway.kind == KIND for gateway in context.gateways.values()):
        raise NotFoundError("There is no sandbox gateway here.")
    return context.store.mailbox.messages(application.name, verification_id)
