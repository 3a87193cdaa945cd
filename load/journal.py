"""What the load generator writes down: one line for each request that it made, whatever came of it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True)
class Entry:
    """A request and its answer. Times are seconds since the epoch."""

    scenario: str
    call: str
    """``start``, ``check``, ``resend``, ``cancel``."""
    key: str
    """What it was sent with as ``Idempotency-Key``: all requests for one thing have the same."""
    number: str
    began: float
    at: float
    status: int
    """Of the answer; 0 when there was none."""
    code: str = ""
    """Of a problem document."""
    verification: str = ""
    valid: bool | None = None
    reason: str = ""
    """Of a check."""
    surprise: str = ""
    """What the scenario did not expect of it; empty when all is as it must be. A 503 is none of these."""

    @property
    def seconds(self) -> float:
        """How long the answer took."""
        return self.at - self.began


class Journal:
    """Lines in a file."""

    def __init__(self, lines: TextIO) -> None:
        """Take where they go."""
        self._lines = lines

    def note(self, entry: Entry) -> None:
        """Write one down."""
        self._lines.write(json.dumps(asdict(entry)) + "\n")


def read(path: Path) -> list[Entry]:
    """Return what was written, in the order of the answers."""
    return [Entry(**json.loads(line)) for line in path.read_text().splitlines()]
