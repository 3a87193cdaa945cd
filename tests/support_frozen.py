"""A real Valkey whose clock stands still until it is moved, to the millisecond."""

from datetime import UTC, datetime
from pathlib import Path
from time import sleep

from support_installation import World
from support_valkey import A_LOOK, ValkeyServer, faketime_library

START = 1_795_000_000_000
"""A quiet Tuesday in November 2026, in milliseconds."""


class FrozenValkey(ValkeyServer):
    """Needs libfaketime. Within its millisecond the clock runs on: the server counts between two looks at it."""

    def __init__(self, folder: Path, *, options: tuple[str, ...] = ()) -> None:
        self.now = START
        super().__init__(folder, movable_clock=True, options=options)

    @staticmethod
    def possible() -> bool:
        return faketime_library() is not None

    def move_to(self, milliseconds: int) -> None:
        """Set the clock, and wait until the server has looked at it."""
        self.now = milliseconds
        self._write_clock()
        while self._seen() != {milliseconds}:
            sleep(A_LOOK)

    def advance(self, seconds: float) -> None:
        self.move_to(self.now + round(seconds * 1000))

    def reset(self) -> None:
        self.client.flushall()
        self.move_to(START)

    def world(self) -> World:
        return World(self.client, self.url, self.advance)

    def _pass_time(self) -> None:
        self.advance(1)

    def _seen(self) -> set[int]:
        return {int(seconds) * 1000 + int(micros) // 1000 for seconds, micros in self._times()}

    def _write_clock(self) -> None:
        text = datetime.fromtimestamp(self.now / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(f"{text}1")
        fresh.rename(self._clock)

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "TZ": "UTC"}
