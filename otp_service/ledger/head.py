"""The ledger's identity, and its count of changes: given out under a lock, so that they become visible in its order."""

import secrets
import string
from dataclasses import dataclass

from sqlalchemy import Connection, case, insert, select, update

from otp_service.core.chain import GENESIS
from otp_service.core.errors import LedgerUnavailableError
from otp_service.ledger.schema import head


@dataclass(frozen=True, slots=True)
class Head:
    """How far the ledger, or its mirror, has come."""

    identity: str
    """Random name of the ledger."""
    sequence: int
    """Number of the last change."""


def create(connection: Connection) -> None:
    """Name a new ledger."""
    connection.execute(
        insert(head).values(id=1, identity=_new_name(), sequence=0, access=0, audit=0, audit_link=GENESIS)
    )


def rename(connection: Connection, place: int) -> None:
    """Give the ledger another identity, and let it go on after a place, if it has not come so far."""
    further = case((head.c.sequence < place, place), else_=head.c.sequence)
    connection.execute(update(head).values(identity=_new_name(), sequence=further + 1))


def read(connection: Connection) -> Head:
    """Return how far the ledger has come."""
    row = connection.execute(select(head.c.identity, head.c.sequence)).one_or_none()
    if row is None:
        raise LedgerUnavailableError("The ledger has not been made: otp-service ledger upgrade.")
    return Head(row.identity, row.sequence)


def advance(connection: Connection, changes: int) -> Head:
    """Return the number of the last of some changes; until the transaction ends nobody else gets any."""
    counted = update(head).values(sequence=head.c.sequence + changes).returning(head.c.identity, head.c.sequence)
    return Head(*connection.execute(counted).one())


def lock(connection: Connection) -> None:
    """Let nobody else change the ledger until the transaction ends."""
    advance(connection, 0)


def access(connection: Connection) -> str:
    """Return the name of the state that applications and keys are in: another one after each change."""
    row = connection.execute(select(head.c.identity, head.c.access)).one_or_none()
    if row is None:
        raise LedgerUnavailableError("The ledger has not been made: otp-service ledger upgrade.")
    return f"{row.identity}/{row.access}"


def advance_access(connection: Connection) -> None:
    """Count a change of applications or keys; until the transaction ends nobody else makes one."""
    connection.execute(update(head).values(access=head.c.access + 1))


def _new_name() -> str:
    """Return a name that no ledger had before; letters only, so that no log takes a part of it for a number."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(32))
