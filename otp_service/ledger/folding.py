"""All that happened to a verification in one column of its row, where the ledger has no row for each event."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from otp_service.domain.audit import Event


def fold(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return what rows of events hold, for the row of their verification."""
    told = [[row["id"], row["type"], row["gateway"], json.loads(row["details"])] for row in rows]
    return json.dumps(told, separators=(",", ":"))


def unfold(verification: str, happened: str) -> Iterator[Event]:
    """Yield the events that a row holds, none where it holds none."""
    for name, kind, gateway, details in json.loads(happened or "[]"):
        yield Event(name, _time_of(name), kind, {**details, "id": verification, "gateway": gateway})


def _time_of(name: str) -> int:
    """Return when an event happened: its name begins with bucket and entry."""
    return int(name.split(":")[1].partition("-")[0])


def sent_through(gateway: str, kinds: Iterable[str]) -> list[str]:
    """Return parts of the column, one of which it has where an event of these kinds is of a gateway."""
    return [json.dumps([kind, gateway], separators=(",", ":"))[1:-1] for kind in kinds]
