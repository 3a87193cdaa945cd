"""A link: keeps one session bound, and submits over it."""

import asyncio
from collections.abc import Awaitable, Callable

from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.gateways.smpp.binding import bound
from otp_service.gateways.smpp.failures import failure_of
from otp_service.gateways.smpp.pace import Pace
from otp_service.gateways.smpp.pdu import RESPONSE, Body, Command, Pdu
from otp_service.gateways.smpp.session import Session
from otp_service.gateways.smpp.settings import SmppSettings

LONGEST_DELAY = 60.0
STABLE = 30.0
"""Seconds of a session after which its end says nothing against binding again at once."""
FAREWELL = 2.0
"""Seconds that an ``unbind`` may take."""
ALMOST = 0.9
"""Of a time-out, when a part of it passed before the submit."""


class Link:
    """One session at a time, bound anew whenever it is lost."""

    def __init__(
        self,
        settings: SmppSettings,
        command: Command,
        deliver: Callable[[bytes], Awaitable[bool]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Prepare, for use within the ``loop``; ``deliver`` takes the body of each ``deliver_sm``."""
        self._settings, self._command, self._deliver, self._loop = settings, command, deliver, loop
        self._pace = Pace(loop.time)
        self._margin = max(0.0, settings.timeout - (settings.slow or settings.timeout / 2))
        """Seconds before the deadline at which a call has become a slow one."""
        self._session: Session | None = None
        self._attempt: asyncio.Future[Session | GatewayError] = loop.create_future()
        """The bind that is under way, or what came of the last one."""
        self._submitting = 0
        self._unanswered, self._quiet_since = 0, 0.0

    @property
    def load(self) -> float:
        """Messages that are being submitted; infinite while it is not bound."""
        return self._submitting if self._session and not self._session.over else float("inf")

    async def keep(self) -> None:
        """Bind, and again after each loss, until canceled; then unbind."""
        delay = 0.0
        try:
            while True:
                delay = self._next(delay, await self._bound())
                await asyncio.sleep(delay)
                self._attempt = self._loop.create_future()
        finally:
            if not self._attempt.done():
                self._attempt.set_result(_unavailable("closed"))
            if self._session:
                await self._session.leave(FAREWELL)

    async def submit(self, bodies: tuple[bytes, ...], deadline: float) -> tuple[str, ...] | GatewayError:
        """Return the message ids of all parts, submitted one after the other, each when the one before is accepted.

        A failure after an accepted part is ambiguous: the handset may show that part. So the parts after it wait for
        the end of a hold as long as they can; a first one not so long that its call would count as slow.
        """
        ids: list[str] = []
        self._submitting += 1
        try:
            for body in bodies:
                answer = await self._submitted(body, deadline, deadline if ids else deadline - self._margin)
                if isinstance(answer, GatewayError):
                    answer.ambiguous = answer.ambiguous or bool(ids)
                    return answer
                ids.append(Body(answer.body).c_string())
        finally:
            self._submitting -= 1
        return tuple(ids)

    async def _bound(self) -> float:
        """Bind, stay bound while that lasts, and return for how many seconds; from then on submits fail at once."""
        outcome = await bound(self._settings, self._command, self._deliver)
        self._attempt.set_result(outcome)
        if isinstance(outcome, GatewayError):
            return 0.0
        self._session, began = outcome, self._loop.time()
        await outcome.last(self._settings.enquire_link, self._settings.timeout)
        self._session = None
        self._attempt = self._loop.create_future()
        self._attempt.set_result(_unavailable("connection"))
        return self._loop.time() - began

    def _next(self, delay: float, lived: float) -> float:
        """Return the delay after another one: each longer, until a session lives longer than the first of them."""
        first = self._settings.rebind_after
        if lived > STABLE:
            return 0.0
        return first if lived > first else min(LONGEST_DELAY, max(first, 2 * delay))

    async def _submitted(self, body: bytes, deadline: float, patience: float) -> Pdu | GatewayError:
        session: Session | GatewayError | None = None
        try:
            async with asyncio.timeout_at(deadline):
                session = await asyncio.shield(self._attempt)
                if isinstance(session, GatewayError):
                    return GatewayError(session.kind, session.provider_code)  # one of its own for each thread to raise
                await session.window.acquire()
        except TimeoutError:
            return _unavailable("window full" if session else "not bound")
        try:
            if hold := await self._pace.wait(patience):
                return GatewayError(FailureKind.THROTTLED, "held", retry_after=hold)
            return self._judged(await self._asked(session, body, deadline))
        finally:
            session.window.release()

    async def _asked(self, session: Session, body: bytes, deadline: float) -> Pdu | GatewayError:
        """Submit one PDU. A session that lets all submits wait for a time-out ends, whatever other life it shows."""
        if not self._unanswered:
            self._quiet_since = self._loop.time()
        self._unanswered += 1
        try:
            answer = await session.ask(Command.SUBMIT_SM, body, deadline - self._loop.time())
        finally:
            self._unanswered -= 1
        if isinstance(answer, Pdu):
            self._quiet_since = self._loop.time()
        elif self._loop.time() - self._quiet_since > ALMOST * self._settings.timeout:
            session.end()
        return answer

    def _judged(self, answer: Pdu | GatewayError) -> Pdu | GatewayError:
        if isinstance(answer, GatewayError):
            return answer
        if answer.command == Command.SUBMIT_SM | RESPONSE and answer.status == 0:
            self._pace.accepted()
            return answer
        if answer.status == 0:
            return GatewayError(FailureKind.UNAVAILABLE, "malformed answer", ambiguous=True)
        failure = failure_of(answer.status)
        if failure.kind is FailureKind.THROTTLED:
            failure.retry_after = self._pace.refused()
        return failure


def _unavailable(code: str) -> GatewayError:
    return GatewayError(FailureKind.UNAVAILABLE, code)
