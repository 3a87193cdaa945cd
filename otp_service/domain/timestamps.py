"""Timestamps as callers write them (RFC 3339, UTC)."""

import re
from datetime import datetime
from typing import Final

TIMESTAMP_PATTERN: Final = (
    r"^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?Z$"
)


def check_timestamp(text: str) -> str:
    """Return a moment; raise `ValueError` when it is not written as one, or the calendar has no such one."""
    if not re.fullmatch(TIMESTAMP_PATTERN, text):
        raise ValueError("is not a time in UTC such as 2026-11-24T22:00:00Z")
    timestamp_milliseconds(text)
    return text


def timestamp_milliseconds(text: str) -> int:
    """Return a moment in milliseconds since the epoch; raise `ValueError` when the calendar has no such one."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # its text repeats what was given
        raise ValueError("is no time that the calendar and the clock have") from None
    return int(moment.timestamp() * 1000)
