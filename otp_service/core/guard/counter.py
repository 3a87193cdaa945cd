"""Counters of a sliding window in constant memory. The same as ``include_counters.lua``. Times in milliseconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counter:
    """What was counted in an interval, and in the one before, which fades out while the present one grows."""

    interval: int = -2
    count: int = 0
    before: int = 0

    def value(self, now: int, window: int) -> float:
        """Return the count at this time."""
        passed = now // window - self.interval
        if passed > 1:
            return 0.0
        count, before = (0, self.count) if passed == 1 else (self.count, self.before)
        return count + before * (1 - (now % window) / window)

    def added(self, now: int, window: int) -> "Counter":
        """Return it with one more. A clock that was set back counts on where it was."""
        present = max(now // window, self.interval)
        if present == self.interval:
            return Counter(present, self.count + 1, self.before)
        return Counter(present, 1, self.count if present == self.interval + 1 else 0)
