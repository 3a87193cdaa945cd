"""What is looked at during a soak."""

import time
from pathlib import Path
from typing import Any

import redis
from growth import Sample
from processes import tree_of
from rig_workers import BUCKET

from otp_service.store import keys

MEGABYTE = 1024 * 1024


class Watch:
    """Looks at the processes and at Valkey."""

    def __init__(self, client: redis.Redis, server: int, worker: int) -> None:
        """Take the process of ``serve``, and the worker's."""
        parent, *children = tree_of(server)
        served = [child for child in children if "multiprocessing-fork" in command(child)]
        self._processes = {"serve": parent, "worker": worker}
        self._processes |= {f"API process {place}": child for place, child in enumerate(served, 1)}
        self._client = client
        self._began = time.monotonic()

    def look(self) -> Sample:
        """Return what there is now."""
        figures: dict[str, float] = {}
        for name, pid in self._processes.items():
            figures[f"{name}: resident MB"] = _resident(pid)
            figures[f"{name}: files"] = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            figures[f"{name}: threads"] = threads(pid)
        return Sample(time.monotonic() - self._began, figures | self._of_valkey())

    def _of_valkey(self) -> dict[str, float]:
        memory: dict[str, Any] = self._client.info("memory")
        clients: dict[str, Any] = self._client.info("clients")
        streams = {"events": keys.events, "decisions": keys.decisions}
        return {
            "Valkey: keys": self._client.dbsize(),
            "Valkey: used MB": memory["used_memory"] / MEGABYTE,
            "Valkey: connections": clients["connected_clients"],
            **{f"Valkey: {name}": self._client.xlen(key(BUCKET)) for name, key in streams.items()},
        }


def threads(pid: int) -> int:
    """Return how many threads a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def command(pid: int) -> str:
    """Return a process's command line, its parts ended by zeros."""
    return Path(f"/proc/{pid}/cmdline").read_text()


def _resident(pid: int) -> float:
    (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024 / MEGABYTE
