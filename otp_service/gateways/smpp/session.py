"""A session: one connection, what is asked over it, and what comes in (sections 2.2 to 2.9, 4.1, 4.2, 4.11)."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.gateways.smpp.failures import failure_of
from otp_service.gateways.smpp.pdu import LAST_SEQUENCE, RESPONSE, Command, Pdu, read

MAX_UNHANDLED = 1_000
"""Reports that may wait to be handed in; further ones are refused for now, so that the SMSC keeps them."""
_NO_MESSAGE_ID = b"\0"
_INVALID_COMMAND, _TRY_LATER = 0x03, 0x64


class Session:
    """Made of an open connection, within its loop. It is over once, and for ever."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        window: int,
        deliver: Callable[[bytes], Awaitable[bool]],
    ) -> None:
        """Begin to read. ``deliver`` is given the body of each ``deliver_sm``, and tells whether it is done with it."""
        self.window = asyncio.Semaphore(window)
        self.waiting: dict[int, asyncio.Future[Pdu | None]] = {}
        """Answers that are awaited, by the number of the request."""
        self._writer, self._deliver = writer, deliver
        self._over, self._ended = asyncio.Event(), False
        self._sequence = 0
        self._handling: set[asyncio.Task[None]] = set()
        self._leaving: asyncio.Task[None] | None = None
        self._reading = asyncio.create_task(self._read(reader))

    @property
    def over(self) -> bool:
        """Whether nothing more can be asked; answers to what was may still come."""
        return self._over.is_set()

    async def ask(self, command: Command, body: bytes, within: float) -> Pdu | GatewayError:
        """Return the answer to a request, of whatever status.

        Without one the failure is *unavailable*; it is ambiguous once the request was written.
        """
        if self.over or within <= 0:
            return GatewayError(FailureKind.UNAVAILABLE, "connection" if self.over else "timeout")
        self._sequence = sequence = self._sequence % LAST_SEQUENCE + 1
        self.waiting[sequence] = asked = asyncio.get_running_loop().create_future()
        try:
            self._write(Pdu(command, 0, sequence, body))
            async with asyncio.timeout(within):
                answer = await asked
        except TimeoutError:
            return GatewayError(FailureKind.UNAVAILABLE, "timeout", ambiguous=True)
        finally:
            del self.waiting[sequence]
        return answer or GatewayError(FailureKind.UNAVAILABLE, "connection", ambiguous=True)

    async def bind(self, command: Command, body: bytes, within: float) -> GatewayError | None:
        """Bind; return why not, which is *account* or *unavailable*: no message was sent."""
        answer = await self.ask(command, body, within)
        if isinstance(answer, Pdu) and answer.command == command | RESPONSE and answer.status == 0:
            return None
        refusal = answer if isinstance(answer, GatewayError) else failure_of(answer.status)
        kind = FailureKind.ACCOUNT if refusal.kind is FailureKind.ACCOUNT else FailureKind.UNAVAILABLE
        return GatewayError(kind, f"bind {refusal.provider_code}")

    async def last(self, every: float, patience: float) -> None:
        """Return when it is over; ask for a sign of life at intervals, and end it when none comes."""
        while not self.over:
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._over.wait()
                    return
            if isinstance(await self.ask(Command.ENQUIRE_LINK, b"", patience), GatewayError):
                self.end()

    async def leave(self, within: float) -> None:
        """Say good-bye and end it."""
        await self.ask(Command.UNBIND, b"", within)
        self.end()

    def end(self) -> None:
        """Close the connection; whoever awaits an answer hears that there will be none."""
        self._over.set()
        self._ended = True
        self._reading.cancel()
        self._writer.transport.abort()  # it waits for nobody; what was written has gone out where the peer reads
        for asked in self.waiting.values():
            if not asked.done():
                asked.set_result(None)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError, EOFError, ValueError):
            while not self._ended:
                self._take(await read(reader))
                await self._writer.drain()  # who does not read our answers is not read: they would pile up
        self.end()

    def _take(self, pdu: Pdu) -> None:
        if pdu.command & RESPONSE:
            asked = self.waiting.get(pdu.sequence)
            if asked and not asked.done():
                asked.set_result(pdu)
        elif pdu.command == Command.DELIVER_SM:
            self._take_in(pdu)
        elif pdu.command == Command.ENQUIRE_LINK:
            self._answer(pdu)
        elif pdu.command == Command.UNBIND:
            self._leaving = self._leaving or asyncio.create_task(self._let_go(pdu))
        else:
            self._write(Pdu(Command.GENERIC_NACK, _INVALID_COMMAND, pdu.sequence))

    async def _let_go(self, unbind: Pdu) -> None:
        """Ask nothing more; end it once what is under way is answered, or waited for in vain."""
        self._over.set()
        try:
            while self.waiting or self._handling:
                under_way: list[asyncio.Future[Any]] = [*self.waiting.values(), *self._handling]
                await asyncio.wait(under_way)
        finally:
            self._answer(unbind)
            self.end()

    def _take_in(self, pdu: Pdu) -> None:
        if len(self._handling) >= MAX_UNHANDLED:
            self._answer(pdu, _TRY_LATER, _NO_MESSAGE_ID)
            return
        task = asyncio.create_task(self._handle(pdu))
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)

    async def _handle(self, pdu: Pdu) -> None:
        status = 0 if await self._deliver(pdu.body) else _TRY_LATER
        self._answer(pdu, status, _NO_MESSAGE_ID)

    def _answer(self, pdu: Pdu, status: int = 0, body: bytes = b"") -> None:
        self._write(Pdu(pdu.command | RESPONSE, status, pdu.sequence, body))

    def _write(self, pdu: Pdu) -> None:
        if not self._ended:
            self._writer.write(pdu.encode())
