"""Labels of metrics: none holds what may be personal, and each has few values."""

import re
import threading

OTHER = "other"
"""What a label says instead of a value that it must not hold."""
MAX_VALUES = 300
"""Different values that one label may take in one process; there are 249 countries."""

_LABEL = re.compile(r"[A-Za-z0-9_./<>: {}-]{0,80}")
_LONG_NUMBER = re.compile(r"\d{6}")


class Labels:
    """The values that labels took so far: a name that nobody expects cannot grow the metrics without end."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def bounded(self, label: str, value: str) -> str:
        """Return the value, or `OTHER` when it may be personal, is malformed, or is one too many."""
        seen = self._seen.get(label, ())
        if value in seen:
            return value
        if not _LABEL.fullmatch(value) or _LONG_NUMBER.search(value):
            return OTHER
        return self._admit(label, value)

    def _admit(self, label: str, value: str) -> str:
        with self._lock:
            seen = self._seen.setdefault(label, set())
            if len(seen) >= MAX_VALUES:
                return OTHER
            seen.add(value)
        return value
