"""An SMS sink: takes messages as gateways do, with latency and failures, and shows what arrived. It sends nothing.

``sink.py --port 8025 --journal FILE``. Any name in front of the path is a gateway of its own::

    POST /primary/messages           a message: id, to, text, and report, where reports of it are wanted
    PUT  /primary/behaviour          {"failing": true}: from now on each call is answered by 500
    GET  /inbox?to=N&after=2&wait=5  the texts on a handset after its second, as soon as there are some
    GET  /calls                      every call, a JSON object a line, as the books need it
    GET  /healthz

A call is answered after a time that scatters as with real providers; some fail. What was taken arrives a moment later,
but for a few that never do, and is reported. A report that is not answered by a 2xx is repeated, as providers do.
"""

import argparse
import asyncio
import json
import math
import random
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote_plus

from wire import Answer, Request, post, serve

MEDIAN, SCATTER, SLOWEST = 0.12, 0.6, 1.5
"""Seconds that an answer takes: logarithmic normal, bounded well below the time-out that the service gives a call."""
FAILED, LOST = 0.01, 0.005
"""Shares of the calls that are answered by 500, and of the messages taken that never arrive."""
ON_AIR, FURTHER, LONGEST = 0.3, 0.7, 5.0
"""Seconds until a message arrives: at least, on average beyond that, and at most."""
SUCCESS = range(200, 300)
"""Answers to a report that was taken."""
REPORTS, BETWEEN = 10, 1.0
"""How often a report is tried, and the seconds between two tries."""
_MAX_WAIT = 20.0


class Sink:
    """All gateways and all handsets."""

    def __init__(self, journal: TextIO, seed: int) -> None:
        """Take where calls are written down, and what chance is made of."""
        self._journal = journal
        self._chance = random.Random(seed)
        self._failing: set[str] = set()
        self._calls: list[dict[str, Any]] = []
        self._inboxes: defaultdict[str, list[str]] = defaultdict(list)
        self._arrived = asyncio.Condition()
        self._underway: set[asyncio.Task[None]] = set()

    async def answer(self, request: Request) -> Answer:
        """Answer a request."""
        match request.method, request.path.strip("/").split("/"):
            case "POST", [gateway, "messages"]:
                return await self._take(gateway, request.json())
            case "PUT", [gateway, "behaviour"]:
                (self._failing.add if request.json()["failing"] else self._failing.discard)(gateway)
                return Answer(200, {"failing": sorted(self._failing)})
            case "GET", ["inbox"]:
                return Answer(200, await self._inbox(request.query))
            case "GET", ["calls"]:
                return Answer(200, "".join(f"{json.dumps(call)}\n" for call in self._calls))
            case "GET", ["healthz"]:
                return Answer(200, {"status": "ok"})
        return Answer(404, {"error": f"there is nothing at {quote_plus(request.path)}"})

    async def _take(self, gateway: str, message: dict[str, str]) -> Answer:
        # Decided before the wait, so that the same seed decides alike however calls overlap.
        seconds = min(self._chance.lognormvariate(math.log(MEDIAN), SCATTER), SLOWEST)
        accepted = self._chance.random() >= FAILED and gateway not in self._failing
        lost, on_air = self._chance.random() < LOST, min(LONGEST, ON_AIR + self._chance.expovariate(1 / FURTHER))
        await asyncio.sleep(seconds)
        call = self._write(gateway, message, accepted=accepted, lost=lost)
        if not accepted:
            return Answer(500, {"ok": False})
        delivering = asyncio.create_task(self._deliver(call, message, on_air))
        self._underway.add(delivering)
        delivering.add_done_callback(self._underway.discard)
        return Answer(200, {"ok": True, "reference": f"sink-{message['id']}"})

    def _write(self, gateway: str, message: dict[str, str], *, accepted: bool, lost: bool) -> dict[str, Any]:
        """Write a call down, and return it: what it says is to be kept up to date."""
        known = {"gateway": gateway, "dispatch": message["id"], "to": message["to"], "accepted": accepted, "lost": lost}
        written: dict[str, Any] = {**known, "at": time.time()}
        self._journal.write(f"{json.dumps(written)}\n")
        call = {**written, "reported": False}
        self._calls.append(call)
        return call

    async def _deliver(self, call: dict[str, Any], message: dict[str, str], seconds: float) -> None:
        await asyncio.sleep(seconds)
        if not call["lost"]:
            async with self._arrived:
                self._inboxes[message["to"]].append(message["text"])
                self._arrived.notify_all()
        if url := message.get("report"):
            for _ in range(REPORTS):
                if await post(url, {"status": "UNDELIV" if call["lost"] else "DELIVRD"}) in SUCCESS:
                    call["reported"] = True
                    break
                await asyncio.sleep(BETWEEN)

    async def _inbox(self, query: dict[str, str]) -> list[str]:
        """Return the texts of a number after so many, once there is one, or the time is over."""
        number, after = query["to"], int(query.get("after", 0))
        wait = min(float(query.get("wait", 0)), _MAX_WAIT)
        try:
            async with asyncio.timeout(wait), self._arrived:
                await self._arrived.wait_for(lambda: len(self._inboxes[number]) > after)
        except TimeoutError:
            pass
        return self._inboxes[number][after:]


async def run(options: argparse.Namespace) -> None:
    """Serve until the process is ended."""
    with options.journal.open("a", buffering=1) as journal:
        await serve(options.host, options.port, Sink(journal, options.seed).answer)


def main() -> int:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8025)
    parser.add_argument("--journal", type=Path, required=True, help="where every call is written down")
    parser.add_argument("--seed", type=int, default=1, help="of latency, failures and losses")
    asyncio.run(run(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
