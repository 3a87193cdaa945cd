"""Public keys of proofs, also of those that sign no more: what was archived stays checkable."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select, update

from otp_service.clock import now
from otp_service.ledger.database import Database
from otp_service.ledger.schema import proof_keys


@dataclass(frozen=True, slots=True)
class RecordedProofKey:
    """A public key. Times are milliseconds since the epoch."""

    jwk: Mapping[str, str]
    first: int
    """When a process was first ready to sign with it."""
    retired: int | None
    """When a process first did without it; ``None`` while it is in use."""


class ProofKeys:
    """Public keys of proofs. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, jwks: Mapping[str, Mapping[str, str]]) -> None:
        """Record the keys in use, by ``kid``, and that all others are retired; write only what is new."""
        with self._database.read() as connection:
            rows = connection.execute(select(proof_keys)).all()
        if {row.kid for row in rows if row.retired is None} == jwks.keys():
            return
        at, in_use = now(), proof_keys.c.kid.in_(list(jwks))
        keys = [{"kid": kid, "jwk": json.dumps(dict(jwk)), "first": at, "retired": None} for kid, jwk in jwks.items()]
        with self._database.write() as connection:
            connection.execute(self._database.insert(proof_keys).on_conflict_do_nothing(), keys)
            connection.execute(update(proof_keys).where(in_use).values(retired=None))
            retired = update(proof_keys).where(~in_use, proof_keys.c.retired.is_(None))
            connection.execute(retired.values(retired=at))

    def all(self) -> list[RecordedProofKey]:
        """Return all keys that ever signed, the newest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(proof_keys).order_by(proof_keys.c.first.desc(), proof_keys.c.kid)).all()
        return [RecordedProofKey(json.loads(row.jwk), row.first, row.retired) for row in rows]
