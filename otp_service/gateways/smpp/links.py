"""Links: all that one process keeps, in a thread with a loop of its own."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress

from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.gateways.smpp.link import FAREWELL, Link
from otp_service.gateways.smpp.pdu import Command
from otp_service.gateways.smpp.settings import SmppSettings

GRACE = 0.5
"""Seconds beyond the time-out after which a loop that does not answer is no longer waited for."""
_COMMANDS = {
    "transceiver": (Command.BIND_TRANSCEIVER,),
    "transmitter_and_receiver": (Command.BIND_TRANSMITTER, Command.BIND_RECEIVER),
}


class Links:
    """They are kept from the making to the end of it; used by many threads."""

    def __init__(self, settings: SmppSettings, name: str, hand_in: Callable[[bytes], bool]) -> None:
        """Begin to bind.

        ``hand_in`` is given the body of each ``deliver_sm``, in the order in which they come, and tells whether it is
        done with it; the SMSC is asked to send the others again.
        """
        self._hand_in = hand_in
        self._desk = ThreadPoolExecutor(1, f"{name}-receipts")
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)  # the loop's own would log what its tasks hold
        commands = _COMMANDS[settings.bind] * settings.binds
        links = [(command, Link(settings, command, self._deliver, self._loop)) for command in commands]
        self._submitting = [link for command, link in links if command is not Command.BIND_RECEIVER]
        self._keeping = [self._loop.create_task(link.keep()) for _, link in links]
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, bodies: tuple[bytes, ...], timeout: float) -> tuple[str, ...] | GatewayError:
        """Submit the parts of one message over the link with the least to do; return their message ids."""
        submitting = self._submit(bodies, self._loop.time() + timeout)
        try:
            outcome = asyncio.run_coroutine_threadsafe(submitting, self._loop)
        except RuntimeError:  # the loop is closed
            submitting.close()
            return GatewayError(FailureKind.UNAVAILABLE, "closed")
        try:
            return outcome.result(timeout + GRACE)
        except (TimeoutError, CancelledError):
            outcome.cancel()
        return GatewayError(FailureKind.UNAVAILABLE, "timeout", ambiguous=True)

    def stop(self) -> None:
        """Unbind and end the thread; whoever still waits for an answer hears that there will be none."""
        leaving = asyncio.run_coroutine_threadsafe(self._leave(), self._loop)
        with suppress(TimeoutError, CancelledError):
            leaving.result(FAREWELL + GRACE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GRACE)
        self._desk.shutdown(wait=False)

    async def _submit(self, bodies: tuple[bytes, ...], deadline: float) -> tuple[str, ...] | GatewayError:
        link = min(self._submitting, key=lambda link: link.load)
        return await link.submit(bodies, deadline)

    async def _leave(self) -> None:
        for keeping in self._keeping:
            keeping.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if rest:
            await asyncio.wait(rest, timeout=GRACE / 5)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    async def _deliver(self, body: bytes) -> bool:
        with suppress(Exception):  # a body that breaks us would do so again
            return await self._loop.run_in_executor(self._desk, self._hand_in, body)
        return True

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
