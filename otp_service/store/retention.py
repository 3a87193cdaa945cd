"""How much of what nobody has read yet is kept."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of the streams is kept: trimmed at each write."""

    age: int
    """Seconds."""
    outbox: int
    """Entries of one lane."""
    events: int
    """Entries, about."""
    decisions: int = 100_000
    """Entries, about."""
    attempts: int = 0
    """Entries, about; 0 to keep none."""

    @property
    def milliseconds(self) -> int:
        """The age as Redis counts it."""
        return self.age * 1000

    @property
    def of_logs(self) -> tuple[int, int, int, int]:
        """What is kept of the events, of all streams, of decisions and of attempts, as the scripts take it."""
        return self.events, self.milliseconds, self.decisions, self.attempts
