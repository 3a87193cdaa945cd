"""The ledger's identity, and its count of changes: given out under a lock, so that they become visible in its order."""

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

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
    connection.execute(insert(head).values(id=1, identity=secrets.token_hex(16), sequence=0, access=0))


def rename(connection: Connection) -> None:
    """Give the ledger another identity: what was mirrored of it is no longer relied on."""
    connection.execute(update(head).values(identity=secrets.token_hex(16)))


def read(connection: Connection) -> Head:
    """Return how far the ledger has come."""
    row = connection.execute(select(head.c.identity, head.c.sequence)).one_or_none()
    if row is None:
        raise LedgerUnavailableError("The ledger has not been made: otp-service ledger upgrade.")
    return Head(row.identity, row.sequence)


def advance(connection: Connection, changes: int) -> int:
    """Return the number of the first of some changes; until the transaction ends nobody else gets any."""
    statement = update(head).values(sequence=head.c.sequence + changes).returning(head.c.sequence)
    return int(connection.execute(statement).scalar_one()) - changes + 1


def access(connection: Connection) -> str:
    """Return the name of the state that applications and keys are in: another one after each change."""
    row = connection.execute(select(head.c.identity, head.c.access)).one_or_none()
    if row is None:
        raise LedgerUnavailableError("The ledger has not been made: otp-service ledger upgrade.")
    return f"{row.identity}/{row.access}"


def advance_access(connection: Connection) -> None:
    """Count a change of applications or keys; until the transaction ends nobody else makes one."""
    connection.execute(update(head).values(access=head.c.access + 1))
