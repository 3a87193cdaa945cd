"""How much of what nobody has read yet is kept."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of the streams is kept."""

    age: int
    """Seconds."""
    outbox: int
    """Entries of one lane."""
    events: int
    """Entries, about; those that are not in the ledger yet are kept, up to twice as many: then nothing is accepted."""
    decisions: int = 100_000
    """Entries, about."""
    attempts: int = 0
    """Entries, about; 0 to keep none."""

    @property
    def milliseconds(self) -> int:
        """The age as Redis counts it."""
        return self.age * 1000

    @property
    def unrecorded(self) -> int:
        """Events from which on nothing is accepted: so many can only be there while none is recorded."""
        return 2 * self.events

    @property
    def of_logs(self) -> tuple[int, int, int]:
        """What is kept of all streams, of decisions and of attempts, as the scripts take it."""
        return self.milliseconds, self.decisions, self.attempts
