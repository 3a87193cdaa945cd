"""Under which reference a gateway took a message over, for receipts that name nothing else."""

import hashlib
from typing import cast

import redis

from otp_service.store import keys
from otp_service.store.connection import answered
from otp_service.store.scripts import ScriptRunner

EARLY = 600_000
"""Milliseconds for which a receipt is kept whose reference nobody knows yet."""
MOST_EARLY = 10
"""Receipts kept for one such reference."""


class References:
    """References of gateways, and receipts that overtook them. What is kept of a reference is a hash."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner) -> None:
        self._client = client
        self._scripts = scripts

    def remember(self, gateway: str, reference: str, dispatch_id: str, milliseconds: int) -> list[str]:
        """Remember a dispatch by its reference; return the receipts that were faster, as they were handed in."""
        hashed = _hash(reference)
        places = (keys.reference(gateway, hashed), keys.early_receipts(gateway, hashed))
        early = self._scripts.run("refer", places, (dispatch_id, milliseconds))
        return [receipt.decode() for receipt in early]

    def known(self, gateway: str, references: tuple[str, ...]) -> str | None:
        """Return the dispatch that was taken over under the first of the references that is known; keep nothing."""
        with answered():
            places = [keys.reference(gateway, _hash(one)) for one in references]
            found = cast("list[bytes | None]", self._client.mget(places))
        return next((one.decode() for one in found if one), None)

    def dispatch_of(self, gateway: str, references: tuple[str, ...], receipt: str) -> str | None:
        """Return the dispatch that was taken over under one of the references.

        When none is known the ``receipt`` is kept, and `remember` will return it.
        """
        places = (
            place(gateway, hashed)
            for hashed in map(_hash, references)
            for place in (keys.reference, keys.early_receipts)
        )
        found = self._scripts.run("resolve", tuple(places), (receipt, EARLY, MOST_EARLY))
        return found[0].decode() if found else None


def _hash(reference: str) -> str:
    return hashlib.sha256(reference.encode()).hexdigest()[:32]
