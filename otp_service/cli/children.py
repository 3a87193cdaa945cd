"""Child processes that never outlive their parent."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int, signum: int = signal.SIGTERM) -> None:
    """Ask the kernel to send this process ``signum`` when its parent ends, however it ends (Linux only).

    The kernel tells nothing of a parent that has ended already: when it is not the process ``parent`` any more, this
    one ends here.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:
        os._exit(1)


@dataclass(frozen=True)
class Child:
    """One process that we started."""

    name: str
    process: subprocess.Popen[bytes]
    started: float
    """By the monotonic clock."""

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started

    def ended(self) -> str | None:
        """Return how it ended, in words; ``None`` while it runs."""
        status = self.process.poll()
        if status is None:
            return None
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"the {self.name} process (pid {self.process.pid}) {how}"

    def stop(self, seconds: float) -> None:
        """Ask it to end, and make it after ``seconds``."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def spawn(name: str, command: Sequence[str], environ: Mapping[str, str] | None = None) -> Child:
    """Start a process in a group of its own, so that Ctrl-C reaches it through us only, and in order.

    It ends with us. Call from the main thread: Linux ties the promise to the thread that starts the process.
    """
    process = subprocess.Popen(  # noqa: S603 - commands of ours
        command,
        stdin=subprocess.DEVNULL,
        env=environ,
        process_group=0,
        preexec_fn=partial(end_with_parent, os.getpid()),  # noqa: PLW1509 - one thread
    )
    return Child(name, process, time.monotonic())


def stop_all(children: Sequence[Child], seconds: float) -> None:
    """Ask all to end at once, and make those that have not after ``seconds``."""
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            child.process.terminate()
    end = time.monotonic() + seconds
    for child in children:
        child.stop(max(0.1, end - time.monotonic()))
