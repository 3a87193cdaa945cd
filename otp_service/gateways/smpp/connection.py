"""SMPP sessions: bind, window, throttling, reconnection."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress

from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.gateways.smpp.protocol import RESPONSE, BodyReader, Command, Pdu, Session, c_string, failure_of
from otp_service.gateways.smpp.settings import SmppSettings

_VERSION = 0x34


async def connect_and_bind(
    settings: SmppSettings, command: Command, deliver: Callable[[bytes], Awaitable[bool]]
) -> Session | GatewayError:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.timeout
    try:
        context = ssl.create_default_context() if settings.tls else None
        async with asyncio.timeout_at(deadline):
            reader, writer = await asyncio.open_connection(settings.host, settings.port, ssl=context)
    except (OSError, ValueError):  # time-outs and TLS errors are OSErrors too
        return _unavailable("connection")
    names = (settings.system_id, settings.password.get_secret_value(), settings.system_type)
    body = b"".join(map(c_string, names)) + bytes((_VERSION, 0, 0)) + c_string("")  # no address range
    session, refused = Session(reader, writer, settings.window, deliver), True
    try:
        refusal = await session.bind(command, body, deadline - loop.time())
        refused = refusal is not None
    finally:
        if refused:  # or canceled
            session.close()
    return refusal or session


MIN_PAUSE, MAX_PAUSE = 0.25, 8.0
"""Minimum and maximum seconds of a pause after a throttling error."""
MIN_RETRY_AFTER = 0.001
"""Seconds; less would be rounded to 0."""


class Throttle:
    """Pauses a link after a throttling error, twice as long after each further error.

    Workers get the same seconds and make no calls. Only messages that were already in the link wait in it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._step = 0.0
        self._until = 0.0

    def slow_down(self) -> float:
        """Pause after a refusal; return its seconds, `MIN_PAUSE` at least. Refusals of a burst count once."""
        now = self._clock()
        if now >= self._until:
            self._step = min(MAX_PAUSE, max(MIN_PAUSE, 2 * self._step))
            self._until = now + self._step
        self._until = max(self._until, now + MIN_PAUSE)
        return self._until - now

    def speed_up(self) -> None:
        """Shorten the next pause, after an accepted message."""
        if self._clock() >= self._until:
            self._step = self._step / 2 if self._step > MIN_PAUSE else 0.0

    async def wait(self, patience: float) -> float:
        """Wait for the end of a pause and return 0; if it lasts until ``patience``, return its seconds at once."""
        while (left := self._until - self._clock()) > 0:
            if self._until >= patience:
                return max(MIN_RETRY_AFTER, left)
            await asyncio.sleep(left)
        return 0.0


MAX_REBIND_DELAY = 60.0
STABLE_SESSION = 30.0
"""Seconds that a session must last to be bound again at once."""
UNBIND_TIMEOUT = 2.0
"""Seconds that an ``unbind`` may take."""
SILENCE_LIMIT = 0.9
"""Share of the time-out without any answer after which a session is closed; a call spends time before its submit."""


class Link:
    """A session that is bound again whenever it is lost."""

    def __init__(
        self,
        settings: SmppSettings,
        command: Command,
        deliver: Callable[[bytes], Awaitable[bool]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._settings, self._command, self._deliver, self._loop = settings, command, deliver, loop
        self._throttle = Throttle(loop.time)
        self._margin = max(0.0, settings.timeout - (settings.slow or settings.timeout / 2))
        """Seconds before the deadline at which a call counts as slow."""
        self._session: Session | None = None
        self._attempt: asyncio.Future[Session | GatewayError] = loop.create_future()
        """The current bind, or the outcome of the last bind."""
        self._submitting = 0
        self._unanswered, self._quiet_since = 0, 0.0

    @property
    def load(self) -> float:
        """Messages in submission; infinite while it is not bound."""
        return self._submitting if self._session and not self._session.over else float("inf")

    async def stay_bound(self) -> None:
        """Bind, also after each loss, until canceled; then unbind."""
        delay, first = 0.0, self._settings.rebind_after
        try:
            while True:
                lasted, outcome = 0.0, await connect_and_bind(self._settings, self._command, self._deliver)
                self._attempt.set_result(outcome)
                if isinstance(outcome, Session):
                    self._session, began = outcome, self._loop.time()
                    await outcome.keep_alive(self._settings.enquire_link, self._settings.timeout)
                    lasted, self._session = self._loop.time() - began, None
                    self._attempt = self._loop.create_future()
                    self._attempt.set_result(_unavailable("connection"))  # submits fail at once until the next bind
                if lasted > STABLE_SESSION:
                    delay = 0.0
                else:
                    delay = first if lasted > first else min(MAX_REBIND_DELAY, max(first, 2 * delay))
                await asyncio.sleep(delay)
                self._attempt = self._loop.create_future()
        finally:
            if not self._attempt.done():
                self._attempt.set_result(_unavailable("closed"))
            if self._session:
                await self._session.unbind(UNBIND_TIMEOUT)

    async def submit(self, bodies: tuple[bytes, ...], deadline: float) -> tuple[str, ...] | GatewayError:
        """Submit all parts, each after the previous part is accepted, and return their message ids.

        A failure after an accepted part is ambiguous: the handset may show that part. So later parts wait for the end
        of a pause until the deadline, and the first only until its call would count as slow.
        """
        ids: list[str] = []
        self._submitting += 1
        try:
            for body in bodies:
                answer = await self._submit_part(body, deadline, deadline if ids else deadline - self._margin)
                if isinstance(answer, GatewayError):
                    answer.ambiguous = answer.ambiguous or bool(ids)
                    return answer
                ids.append(BodyReader(answer.body).c_string())
        finally:
            self._submitting -= 1
        return tuple(ids)

    async def _submit_part(self, body: bytes, deadline: float, patience: float) -> Pdu | GatewayError:
        session: Session | GatewayError | None = None
        try:
            async with asyncio.timeout_at(deadline):
                session = await asyncio.shield(self._attempt)
                if isinstance(session, GatewayError):
                    return GatewayError(session.kind, session.provider_code)  # a new error for each thread to raise
                await session.window.acquire()
        except TimeoutError:
            return _unavailable("window full" if session else "not bound")
        try:
            if pause := await self._throttle.wait(patience):
                return GatewayError(FailureKind.THROTTLED, "held", retry_after=pause)
            return await self._request(session, body, deadline)
        finally:
            session.window.release()

    async def _request(self, session: Session, body: bytes, deadline: float) -> Pdu | GatewayError:
        """Submit a PDU; close a session that answers no submit for nearly a time-out, though it may be alive."""
        if not self._unanswered:
            self._quiet_since = self._loop.time()
        self._unanswered += 1
        try:
            answer = await session.request(Command.SUBMIT_SM, body, deadline - self._loop.time())
        finally:
            self._unanswered -= 1
        if isinstance(answer, GatewayError):
            silence = self._loop.time() - self._quiet_since
            if not session.over and silence > SILENCE_LIMIT * self._settings.timeout:
                session.close()
            return answer
        self._quiet_since = self._loop.time()
        if answer.command == Command.SUBMIT_SM | RESPONSE and answer.status == 0:
            self._throttle.speed_up()
            return answer
        if answer.status == 0:
            return GatewayError(FailureKind.UNAVAILABLE, "malformed answer", ambiguous=True)
        failure = failure_of(answer.status)
        if failure.kind is FailureKind.THROTTLED:
            failure.retry_after = self._throttle.slow_down()
        return failure


def _unavailable(code: str) -> GatewayError:
    return GatewayError(FailureKind.UNAVAILABLE, code)


LOOP_GRACE = 0.5
"""Seconds beyond the time-out that a caller waits for the loop's thread."""
_COMMANDS = {
    "transceiver": (Command.BIND_TRANSCEIVER,),
    "transmitter_and_receiver": (Command.BIND_TRANSMITTER, Command.BIND_RECEIVER),
}


class LinkPool:
    """All links of a gateway, with their own thread and event loop. Used by many threads."""

    def __init__(self, settings: SmppSettings, name: str, accept: Callable[[bytes], bool]) -> None:
        """``accept`` gets the body of each ``deliver_sm``, in order; if it returns false, the SMSC sends it again."""
        self._accept = accept
        self._delivery_thread = ThreadPoolExecutor(1, f"{name}-receipts")
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)  # the default handler logs the data of tasks
        commands = _COMMANDS[settings.bind] * settings.binds
        links = [(command, Link(settings, command, self._deliver, self._loop)) for command in commands]
        self._submitting = [link for command, link in links if command is not Command.BIND_RECEIVER]
        self._tasks = [self._loop.create_task(link.stay_bound()) for _, link in links]
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, bodies: tuple[bytes, ...], timeout: float) -> tuple[str, ...] | GatewayError:
        deadline = self._loop.time() + timeout

        async def submit() -> tuple[str, ...] | GatewayError:
            return await min(self._submitting, key=lambda link: link.load).submit(bodies, deadline)

        submission = submit()
        try:
            outcome = asyncio.run_coroutine_threadsafe(submission, self._loop)
        except RuntimeError:  # the loop is closed
            submission.close()
            return _unavailable("closed")
        try:
            return outcome.result(timeout + LOOP_GRACE)
        except (TimeoutError, CancelledError):
            outcome.cancel()
        return GatewayError(FailureKind.UNAVAILABLE, "timeout", ambiguous=True)

    def stop(self) -> None:
        """Unbind and end the thread; waiting calls fail."""
        unbinding = asyncio.run_coroutine_threadsafe(self._unbind_all(), self._loop)
        with suppress(TimeoutError, CancelledError):
            unbinding.result(UNBIND_TIMEOUT + LOOP_GRACE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LOOP_GRACE)
        self._delivery_thread.shutdown(wait=False)

    async def _unbind_all(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        unfinished = asyncio.all_tasks() - {asyncio.current_task()}
        if unfinished:
            await asyncio.wait(unfinished, timeout=LOOP_GRACE / 5)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    async def _deliver(self, body: bytes) -> bool:
        with suppress(Exception):  # a body that raises an exception would do so again
            return await self._loop.run_in_executor(self._delivery_thread, self._accept, body)
        return True

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
