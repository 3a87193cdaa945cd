"""What the ledger has of calls to gateways, and whether it has all of it."""

import json

import redis
from accounts import Entry
from rig import until
from rig_workers import BUCKET
from sqlalchemy import select

from otp_service.ledger.ledger import Ledger
from otp_service.ledger.schema import events
from otp_service.store import keys
from otp_service.store.events import GROUP

SETTLED = 60.0
"""Seconds in which all is to be recorded: others take over what a recorder had that was killed after less than half."""


def unrecorded(client: redis.Redis) -> int:
    """Return how many events are not in the ledger yet."""
    group = next(one for one in client.xinfo_groups(keys.events(BUCKET)) if one["name"] == GROUP.encode())
    return int(group["pending"]) + int(group["lag"] or 0)


def entries_of(client: redis.Redis, url: str) -> list[Entry]:
    """Return the ledger's entries of calls, oldest first, once all events are recorded."""
    until(lambda: not unrecorded(client), SETTLED, "not all events are in the ledger")
    ledger = Ledger(url, 10.0)
    called = select(events).where(events.c.type.startswith("delivery."), events.c.gateway != "")
    with ledger.database.read() as connection:
        rows = connection.execute(called.order_by(events.c.at, events.c.id)).all()
    told = ((row, json.loads(row.details)) for row in rows)
    return [
        Entry(_slot(row.verification, details["slot"]), row.gateway, row.type.removeprefix("delivery."),
              details.get("reason", ""), details.get("status", ""), "cost" in details)
        for row, details in told
    ]  # fmt: skip


def _slot(verification: str, slot: str) -> tuple[str, int, int]:
    message, dispatch = slot.removeprefix("d").split(".")
    return verification, int(message), int(dispatch)
