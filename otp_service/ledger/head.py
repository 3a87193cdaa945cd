"""The ledger's identity, and its count of changes: given out under a lock, so that they become visible in its order."""

import secrets
import string
from typing import Any

from sqlalchemy import Connection, case, insert, select, update

from otp_service.domain.events import GENESIS
from otp_service.domain.people import Place
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.schema import audit, head


def create(connection: Connection) -> None:
    """Name a new ledger."""
    connection.execute(
        insert(head).values(
            id=1,
            identity=_new_name(),
            sequence=0,
            access=0,
            audit=0,
            audit_link=GENESIS,
            changed=0,
            changed_link=GENESIS,
            forgotten=0,
            forgotten_link=GENESIS,
            mirrored=False,
            pseudonym_key="",
            purged=0,
        )
    )


def rename(connection: Connection, sequence: int) -> None:
    """Give the ledger another identity, of which there is no mirror; it goes on after a number, if it was before it."""
    further = case((head.c.sequence < sequence, sequence), else_=head.c.sequence)
    connection.execute(update(head).values(identity=_new_name(), sequence=further + 1, mirrored=False))


def row(connection: Connection) -> Any:  # noqa: ANN401 - a row
    """Return the head; raises `LedgerUnavailableError` where there is none yet."""
    found = connection.execute(select(head)).one_or_none()
    if found is None:
        raise LedgerUnavailableError("The ledger has not been made: otp-service ledger upgrade.")
    return found


def read(connection: Connection) -> Place:
    """Return how far the ledger has come."""
    found = row(connection)
    return Place(found.identity, found.sequence, found.changed, found.changed_link)


def has(connection: Connection, place: Place) -> bool:
    """Tell whether a place is in the history of this ledger: one that was restored from a copy lacks the later ones."""
    last = row(connection)
    if place.identity != last.identity or place.sequence > last.sequence:
        return False
    known = {last.forgotten: last.forgotten_link, last.changed: last.changed_link, 0: GENESIS}
    return place.link == (known.get(place.entry) or link_at(connection, place.entry))


def forget(connection: Connection, entry: int) -> None:
    """Remember the last change itself, where the audit chain has no entries any more up to one: mirrors stand there."""
    values = {"forgotten": head.c.changed, "forgotten_link": head.c.changed_link}
    connection.execute(update(head).where(head.c.changed <= entry).values(values))


def link_at(connection: Connection, entry: int) -> str | None:
    """Return the link of an entry of the audit chain; ``None`` when it is not there."""
    return connection.execute(select(audit.c.link).where(audit.c.sequence == entry)).scalar()


def advance(connection: Connection, changes: int) -> int:
    """Return the number of the last of some changes; until the transaction ends nobody else gets any."""
    counted = update(head).values(sequence=head.c.sequence + changes).returning(head.c.sequence)
    return int(connection.execute(counted).scalar_one())


def lock(connection: Connection) -> None:
    """Let nobody else change the ledger until the transaction ends."""
    advance(connection, 0)


def access(connection: Connection) -> str:
    """Return the name of the state that applications and keys are in: another one after each change."""
    found = row(connection)
    return f"{found.identity}/{found.access}"


def advance_access(connection: Connection) -> None:
    """Count a change of applications or keys; until the transaction ends nobody else makes one."""
    connection.execute(update(head).values(access=head.c.access + 1))


def _new_name() -> str:
    """Return a name that no ledger had before; letters only, so that no log takes a part of it for a number."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(32))
