"""A stand-in for an SMSC, by ``smpp34``, which others wrote.

As a program, ``smsc.py PORT JOURNAL accept MILLISECONDS SEED``, it accepts every message after so many milliseconds and
writes its journal as the other stand-ins do. A ``submit_sm`` does not tell whose it is: instead of a dispatch the
journal has the message's number, from 1.
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, TextIO

import smpp34
from gateway_standin import Served, StandIn

WINDOW = 100
"""Submits without an answer: more than the threads of a worker, so that the window is not what is measured."""


@dataclass(frozen=True)
class Smsc(StandIn):
    """An operator of the route, to whom the ``smpp`` gateway submits."""

    program: ClassVar[str] = __file__

    def settings(self, port: int) -> dict[str, Any]:
        """Return its section in the configuration."""
        account = {"host": "127.0.0.1", "port": port, "system_id": "bench", "password": "bench", "window": WINDOW}
        return {"kind": "smpp", **account, "source": "Bench", "timeout": self.timeout}


async def serve(port: int, journal: TextIO, delay: float) -> None:
    """Serve until the process is ended."""
    server = smpp34.Server("127.0.0.1", port, system_id="SMSC")
    await server.start()
    numbers, loop = itertools.count(1), asyncio.get_running_loop()
    while True:
        event = await server.next()
        if isinstance(event, smpp34.SubmitSmEvent):
            loop.call_later(delay, _accept, event, str(next(numbers)), time.monotonic(), journal)


def _accept(submit: smpp34.SubmitSmEvent, number: str, came: float, journal: TextIO) -> None:
    journal.write(json.dumps(asdict(Served(number, accepted=True, came=came, answered=time.monotonic()))) + "\n")
    submit.accept(number)


def main(arguments: Sequence[str]) -> None:
    """Read the arguments and serve."""
    port, path, _behaviour, milliseconds, _seed = arguments
    with Path(path).open("a", buffering=1) as journal:
        asyncio.run(serve(int(port), journal, float(milliseconds) / 1000))


if __name__ == "__main__":
    main(sys.argv[1:])
