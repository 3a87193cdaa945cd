"""The mirror of the ledger: what starts and dispatches have to know of a number, read inside their scripts.

It is written through whenever the ledger changes, and carries the ledger's identity and the place in it that it has
come to. A process knows which place the ledger has come to; while the mirror is behind that, was lost, or is another
ledger's, nothing is accepted and nothing is sent. So neither a flush nor a restored backup forgets that somebody said
stop.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis

from otp_service.core.consent import ConsentMode
from otp_service.core.mirrored import Changes, Mirrored
from otp_service.store import keys
from otp_service.store.connection import answered
from otp_service.store.scripts import Argument, ScriptRunner

NOTHING_KEPT = 24 * 3600 * 1000
"""Milliseconds to remember that there is nothing about a number: longer than any write of its state takes."""
_TURN = 30
"""Seconds after which a process that builds the mirror, and is silent, is taken for dead."""
_FOR_EVER = ""
_DELETED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Permission:
    """What a script is told, to look up whether a message may go."""

    identity: str
    """Of the ledger."""
    least: int
    """Place that the ledger is known to have come to."""
    demand: ConsentMode
    """Which consent is needed."""
    evidence: str = ""
    """The consent that comes with a start, as JSON: then no other is needed."""

    @property
    def of_further(self) -> tuple[Argument, ...]:
        """As the scripts of further messages and of dispatches take it."""
        return self.identity, self.least, self.demand

    @property
    def of_start(self) -> tuple[Argument, ...]:
        """As the script of a start takes it."""
        return *self.of_further, self.evidence


class Mirror:
    """What Redis knows of the ledger. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner) -> None:
        self._client = client
        self._scripts = scripts

    def place(self, identity: str) -> int | None:
        """Return the place in a ledger that the mirror has come to; ``None`` when it is not built of this one."""
        with answered():
            found, sequence = self._client.hmget(keys.MIRROR, ["identity", "sequence"])
        return int(sequence) if found == identity.encode() and sequence is not None else None

    def reflect(self, changes: Changes, after: int, buckets: Iterable[str]) -> int | None:
        """Write the states that some changes after a place have led to, each number's in its bucket.

        Returns the place that the mirror has come to by that; ``None`` when it is not built of this ledger.
        """
        places = (keys.mirrored(bucket, one.pseudonym) for bucket, one in zip(buckets, changes.numbers, strict=True))
        place = self._scripts.run(
            "reflect",
            (keys.MIRROR, *places),
            (
                changes.identity,
                changes.newest,
                after,
                changes.upto,
                NOTHING_KEPT,
                *(json.dumps(_fields(one)) for one in changes.numbers),
            ),
        )
        return None if place < 0 else int(place)

    @contextmanager
    def building(self, builder: str) -> Iterator[bool]:
        """Tell whether it is this process' turn to build the mirror; the turn ends with the block."""
        with answered():
            mine = bool(self._client.set(keys.MIRROR_BUILDER, builder, nx=True, ex=_TURN))
        try:
            yield mine
        finally:
            if mine:
                with answered():
                    self._client.delete(keys.MIRROR_BUILDER)

    def go_on(self) -> None:
        """Keep the turn: building takes longer."""
        with answered():
            self._client.expire(keys.MIRROR_BUILDER, _TURN)

    def forget(self) -> None:
        """Delete all of the mirror: it is another ledger's, or its numbers are not to be trusted."""
        with answered():
            self._client.delete(keys.MIRROR)
            for name in self._client.scan_iter(
                match=keys.mirrored("*", "*").replace("{*}", "{[0-9a-f][0-9a-f]}"), count=_DELETED_AT_ONCE
            ):
                self._client.delete(name)

    def finish(self, identity: str, sequence: int) -> None:
        """Record which ledger the mirror is built of, and the place in it: from now on it may be relied on."""
        with answered():
            self._client.hset(keys.MIRROR, mapping={"identity": identity, "sequence": sequence})


def _fields(one: Mirrored) -> dict[str, str]:
    """Return the fields of a number's hash.

    ``s:<application>`` has until when it is suppressed, in milliseconds, empty for ever; ``c:<application>:<purpose>``
    has ``given`` or ``withdrawn``, and the place in the ledger from which on that counts.
    """
    suppressed = {
        f"s:{application}": _FOR_EVER if until is None else str(until) for application, until in one.suppressed.items()
    }
    consents = {
        f"c:{application}:{purpose}": f"{'given' if given else 'withdrawn'}|{place}"
        for (application, purpose), (given, place) in one.consents.items()
    }
    return suppressed | consents
