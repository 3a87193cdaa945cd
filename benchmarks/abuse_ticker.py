"""Moves a clock: ``abuse_ticker.py FILE AT BEGAN SPEED`` writes the time into a file, as libfaketime reads it.

libfaketime can let time fly by itself, but then shortens a server's waits for its connections too, in whole
milliseconds: to nothing, and the server asks without a pause. So the clock stands still, and is moved.
"""

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

EVERY = 0.004
"""Seconds, by our clock, between two moves."""


def show(file: Path, at: float) -> None:
    """Let the clock show a time, in seconds since the epoch; to the millisecond."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S.%f}1")
    fresh.rename(file)


def main(arguments: Sequence[str]) -> None:
    """Move the clock until asked to end."""
    file, at, began, speed = arguments
    with contextlib.suppress(PermissionError):
        os.nice(-10)  # it needs next to nothing, but at once: a clock that stops for 0.1 s has lost half a minute
    while True:
        show(Path(file), float(at) + (time.monotonic() - float(began)) * float(speed))
        time.sleep(EVERY)


if __name__ == "__main__":
    main(sys.argv[1:])
