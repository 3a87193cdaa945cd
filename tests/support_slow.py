"""A Redis that is far away: what is between it and us lets its answers through after a while.

Run as a program it is that way, in a process of its own: a thread of the tests' process would wait for its turn among
those of the callers, and add to the distance what nobody asked for.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator

CHUNK = 65536


class Distance:
    """Listens, and passes on to a port of this host."""

    def __init__(self, target: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._said())

    def set(self, seconds: float) -> None:
        """Let an answer take so much longer from now on than it would."""
        assert self._process.stdin
        print(seconds, file=self._process.stdin, flush=True)
        self._said()

    def end(self) -> None:
        self._process.communicate(timeout=10)

    def lose(self) -> None:
        """End at once, with all that is still on its way."""
        self._process.kill()
        self._process.wait()

    def _said(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()


@contextlib.contextmanager
def far_away(port: int) -> Iterator[Distance]:
    """Put a distance before a port of this host."""
    distance = Distance(port)
    try:
        yield distance
    finally:
        distance.end()


class _Way:
    def __init__(self, target: int) -> None:
        self.seconds = 0.0
        self._target = target

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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


async def _main(target: int) -> None:
    """Tell the port; then let each line of the input be the seconds, until it ends."""
    way = _Way(target)
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0)
    _say(server.sockets[0].getsockname()[1])
    while line := await asyncio.to_thread(sys.stdin.readline):
        way.seconds = float(line)
        _say(line.strip())
    server.close()


def _say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
