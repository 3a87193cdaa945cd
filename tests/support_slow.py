"""A Redis that is far away: what is between it and us lets its answers through after a while."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

CHUNK = 65536


class Distance:
    """Listens, and passes on to a port of this host."""

    def __init__(self, target: int) -> None:
        self.seconds = 0.0
        """How long an answer takes longer than it would; may be changed at any time."""
        self.port = 0
        self._target = target
        self._over = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listens = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._listen(),))
        self._thread.start()
        self._listens.wait(10)

    def end(self) -> None:
        if self._loop:
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _listen(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])
        self._listens.set()
        await self._over.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                await asyncio.gather(self._pass_on(reader, far_writer, 0), self._pass_on(far_reader, writer, 1))
            finally:
                far_writer.close()
        writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, share: int) -> None:
        while data := await reader.read(CHUNK):
            await asyncio.sleep(share * self.seconds)
            writer.write(data)
        writer.close()


@contextlib.contextmanager
def far_away(port: int) -> Iterator[Distance]:
    """Put a distance before a port of this host."""
    distance = Distance(port)
    try:
        yield distance
    finally:
        distance.end()
