"""An application's own quota, as it is told to the application."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """State of one window of an application after a request (IETF draft ratelimit-headers)."""

    amount: int
    seconds: int
    """Length of the window."""
    remaining: int
    reset: int
    """Seconds until more becomes available."""
