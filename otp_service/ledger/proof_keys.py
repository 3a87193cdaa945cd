"""Public keys of proofs. Retired keys stay, so that archived proofs can be verified."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select, update

from otp_service.clock import now
from otp_service.ledger.audit import append_state
from otp_service.ledger.database import LedgerPart, lock_head
from otp_service.ledger.schema import proof_keys


@dataclass(frozen=True, slots=True)
class RecordedProofKey:
    """A public key. Times are milliseconds since the epoch."""

    jwk: Mapping[str, str]
    first: int
    """When a process was first ready to sign with it."""
    retired: int | None
    """When a process first ran without it; ``None`` while it is in use."""


class ProofKeys(LedgerPart):
    """Public keys of proofs."""

    def note(self, jwks: Mapping[str, Mapping[str, str]]) -> None:
        """Record the keys in use, by ``kid``, and retire all others; write only changes."""
        with self._database.read() as connection:
            rows = connection.execute(select(proof_keys)).all()
        if {row.kid for row in rows if row.retired is None} == jwks.keys():
            return
        at, in_use = now(), proof_keys.c.kid.in_(list(jwks))
        keys = [{"kid": kid, "jwk": json.dumps(dict(jwk)), "first": at, "retired": None} for kid, jwk in jwks.items()]
        add = self._database.insert(proof_keys).on_conflict_do_nothing()
        taken_up = update(proof_keys).where(in_use, proof_keys.c.retired.is_not(None)).values(retired=None)
        retired = update(proof_keys).where(~in_use, proof_keys.c.retired.is_(None)).values(retired=at)
        changed = set[str]()
        with self._database.write() as connection:
            lock_head(connection)  # of two processes at once only the first records a change
            for key in keys:
                changed.update(connection.execute(add.values(key).returning(proof_keys.c.kid)).scalars())
            for change in (taken_up, retired):
                changed.update(connection.execute(change.returning(proof_keys.c.kid)).scalars())
            append_state(connection, proof_keys, changed)

    def all(self) -> list[RecordedProofKey]:
        """Return all keys that ever signed, the newest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(proof_keys).order_by(proof_keys.c.first.desc(), proof_keys.c.kid)).all()
        return [RecordedProofKey(json.loads(row.jwk), row.first, row.retired) for row in rows]
