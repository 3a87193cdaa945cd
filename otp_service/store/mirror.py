"""The mirror of the ledger: what starts, dispatches and checks have to know of a number, read inside their scripts.

It is written through whenever the ledger changes, and carries the place in the ledger's history that it has come to. A
process knows which place the ledger has come to; while the mirror is behind that, was lost, or is of another history,
nothing is accepted and nothing is sent. So neither a flush nor a restored backup forgets that somebody said stop.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any

import redis

from otp_service.domain.people import Changes, ConsentMode, Mirrored, Place
from otp_service.store import keys
from otp_service.store.connection import answered
from otp_service.store.scripts import Argument, ScriptRunner

NOTHING_KEPT = 24 * 3600 * 1000
"""Milliseconds to remember a number of which nothing holds: longer than any write of its state takes."""
_TURN = 30_000
"""Milliseconds after which a process that builds the mirror, and is silent, is taken for dead."""
_FOR_EVER = ""
_AT_ONCE = 1000
"""Keys that are looked at, and deleted, in one step."""
_ALL_NUMBERS = keys.mirrored("[0-9a-f][0-9a-f]", "*")


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
    """The consent that comes with a start, as JSON: then no other is needed, if nothing newer withdraws it."""

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

    def head(self) -> tuple[Place | None, bool]:
        """Return the place in a ledger's history that the mirror has come to, ``None`` when there is no mirror.

        Then whether it is closed: its history was seen not to be the ledger's, and no operator has decided since.
        """
        with answered():
            found: Any = self._client.hmget(keys.MIRROR, ["identity", "sequence", "entry", "link", "closed"])
        *place, closed = found
        if None in place:
            return None, False
        identity, sequence, entry, link = place
        return Place(identity.decode(), int(sequence), int(entry), link.decode()), closed is not None

    def reflect(self, changes: Changes, buckets: Iterable[str]) -> bool:
        """Write the states of numbers, each in its bucket, and bring the mirror to the place that they lead to.

        Returns ``False``, and writes nothing, when the mirror is not at the place after which the changes come.
        """
        return _reflect(self._scripts, changes, buckets, "")

    def close(self) -> None:
        """Let nothing through until an operator has the mirror built anew: the ledger may lack opt-outs."""
        with answered():
            self._client.hset(keys.MIRROR, "closed", 1)

    def drop(self) -> None:
        """Take the mirror for lost: it is built anew."""
        with answered():
            self._client.delete(keys.MIRROR)

    def begin(self, identity: str) -> "Building | None":
        """Return the turn to build the mirror of a ledger; ``None`` when it is another process'."""
        builder = f"{identity}/{secrets.token_hex(8)}"
        with answered():
            mine = self._client.set(keys.MIRROR_BUILDER, builder, nx=True, px=_TURN)
        return Building(self._client, self._scripts, builder) if mine else None


class Building:
    """One process' turn to build the mirror. Who is silent for too long loses it, and can then do nothing more."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner, builder: str) -> None:
        self._client = client
        self._scripts = scripts
        self._builder = builder

    def go_on(self) -> bool:
        """Keep the turn; tell whether it is still there."""
        return self._run(_TURN)

    def reflect(self, changes: Changes, buckets: Iterable[str]) -> bool:
        """Write the states of numbers; tell whether the turn is still there."""
        return _reflect(self._scripts, changes, buckets, self._builder) and self.go_on()

    def finish(self, place: Place) -> bool:
        """Record the place that the mirror is built of; tell whether it may be relied on."""
        return self._run(0, place)

    def give_up(self) -> None:
        """End the turn: another may try."""
        self._run(0)

    def forget(self) -> None:
        """Delete all of the mirror: it is another ledger's, or its numbers are not to be trusted."""
        found, cursor = [keys.MIRROR], -1
        while self._run(_TURN, numbers=found) and cursor != 0:
            with answered():
                cursor, names = self._client.scan(max(cursor, 0), match=_ALL_NUMBERS, count=_AT_ONCE)
            found = [name.decode() for name in names if isinstance(name, bytes)]

    def _run(self, milliseconds: int, place: Place | None = None, numbers: Iterable[str] = ()) -> bool:
        names = (keys.MIRROR, keys.MIRROR_BUILDER, *numbers)
        built = astuple(place) if place else ()
        return bool(self._scripts.run("build", names, (self._builder, milliseconds, *built)))


def _reflect(scripts: ScriptRunner, changes: Changes, buckets: Iterable[str], builder: str) -> bool:
    places = (keys.mirrored(bucket, one.pseudonym) for bucket, one in zip(buckets, changes.numbers, strict=True))
    after, upto = changes.after, changes.upto
    states = (json.dumps(_fields(one)) for one in changes.numbers)
    ends = (after.identity, after.sequence, after.link, upto.sequence, upto.entry, upto.link)
    arguments: tuple[Argument, ...] = (builder, *ends, changes.read_at, NOTHING_KEPT, *states)
    return bool(scripts.run("reflect", (keys.MIRROR, keys.MIRROR_BUILDER, *places), arguments))


def _fields(one: Mirrored) -> dict[str, str]:
    """Return the fields of a number's hash.

    ``s:<application>`` has until when it is suppressed, in milliseconds, empty for ever; ``f:<application>`` is there,
    and empty, while it is frozen; ``l:<application>`` has the place in the ledger at which a freeze was lifted last;
    ``c:<application>:<purpose>`` has ``given`` or ``withdrawn``, the place in the ledger from which on that counts, and
    the time after which a consent has to be given to be newer.
    """
    suppressed = {
        f"s:{application}": _FOR_EVER if until is None else str(until) for application, until in one.suppressed.items()
    }
    consents = {
        f"c:{application}:{purpose}": f"{'given' if given else 'withdrawn'}|{place}|{said}"
        for (application, purpose), (given, place, said) in one.consents.items()
    }
    frozen = {f"f:{application}": _FOR_EVER for application in one.frozen}
    lifted = {f"l:{application}": str(place) for application, place in one.lifted.items()}
    return suppressed | frozen | lifted | consents
