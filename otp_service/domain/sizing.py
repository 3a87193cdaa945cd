"""How large an installation has to be for a load: figures that were measured, and what follows from them."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

from otp_service.domain.keyring import IDEMPOTENCY_SECONDS
from otp_service.domain.verification import RECORD_GRACE


class Figure(NamedTuple):
    """Something that was measured."""

    value: float
    unit: str
    source: str
    """The command that measures it, and the commit that it measured."""


_FOLDED: Final = "c236c81"
"""The commit whose ledger with one row a verification was measured."""


def _ours(value: float, unit: str, commit: str = "a73762e") -> Figure:
    return Figure(value, unit, f"make bench-size, {commit}")


FIGURES: Final[Mapping[str, Figure]] = {
    "valkey_start": _ours(127, "µs"),
    "valkey_delivery": _ours(331, "µs"),
    "valkey_check": _ours(74, "µs"),
    "valkey_event": _ours(17, "µs"),
    "number": _ours(290, "bytes"),
    "number_verification": _ours(60, "bytes"),
    "network": _ours(256, "bytes"),
    "record": _ours(543, "bytes"),
    "dispatch": _ours(224, "bytes"),
    "idempotency_key": _ours(321, "bytes"),
    "waiting_event": _ours(456, "bytes", _FOLDED),
    "wire_start": _ours(1174, "bytes"),
    "wire_delivery": _ours(3711, "bytes"),
    "wire_check": _ours(518, "bytes"),
    "wire_event": _ours(409, "bytes"),
    "replicated_start": _ours(2967, "bytes"),
    "replicated_delivery": _ours(3018, "bytes"),
    "replicated_check": _ours(932, "bytes"),
    "replicated_event": _ours(370, "bytes"),
    "ledger_verification": _ours(606, "bytes"),
    "ledger_event": _ours(314, "bytes"),
    "ledger_folded_verification": _ours(411, "bytes", _FOLDED),
    "ledger_folded_event": _ours(140, "bytes", _FOLDED),
    "ledger_audit_entry": _ours(349, "bytes"),
    "recording": _ours(120, "µs"),
    "recording_folded": _ours(86, "µs", _FOLDED),
    "worker_message": _ours(1300, "µs"),
    "worker_busy": Figure(0.92, "of its threads", "make bench-delivery, 9051795"),
    "api_start": Figure(685, "µs", "make bench, 7b7a204"),
    "api_check": Figure(476, "µs", "make bench, 7b7a204"),
}
"""What `Load` is multiplied with. A delivery is a message with its call and its receipt; folded is an event that is in
the row of its verification."""
CLUSTER_START: Final = 2.5
"""How many times a start costs on a cluster: `make cluster-pace` found 2.49."""
REMEMBERED: Final = 20
"""Verifications that a number's state names at most."""
NETWORK_DAYS: Final = 2
"""Days for which the state of an end user's network is kept."""
RECORD_SECONDS: Final = 300 + RECORD_GRACE
"""Life of a record whose code lives as long as by default."""
THREADS: Final = 64
"""Calls that a worker process makes at once through one gateway beside others, by default: half of its threads."""
BATCH: Final = 2000
"""Events that a worker process records at once."""
PAUSE: Final = 0.25
"""Seconds between two such batches."""
PRICE: Final = "price of messages"
"""What the line is of whose unit needs the currency."""
_DAY: Final = 86_400
_PEAK_OF_MEAN: Final = 5
"""How many times as many starts come at the peak as in the mean, where nobody says."""
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:e\+?[0-9]{1,2})?)([kMG]?)")
_TIMES: Final = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}


def parse_amount(text: str) -> float:
    """Return a number such as ``50k``, ``1.5M`` or ``1e9``; raise `ValueError` for anything else."""
    found = _AMOUNT.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a number such as 250, 50k, 1.5M or 1e9.")
    return float(found[1]) * _TIMES[found[2]]


def _member(words: str, least: float, most: float, default: Any = MISSING) -> Any:  # noqa: ANN401 - a field of any type
    return field(default=default, metadata={"words": words, "bounds": (least, most)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What an installation has to bear. Raises `ValueError` with a sentence for what cannot be."""

    starts: float = _member("Starts a second at peak.", 0.001, 1_000_000)
    known: float = _member("Numbers that were approved and stay known.", 0, 100_000_000_000)
    mean: float = _member("Starts a second in the mean of a day; default: a fifth of the peak.", 0, 1_000_000, 0)
    known_days: float = _member("Days that they stay known: guard.number.known_days.", 1, 365, 90)
    networks: float = _member(
        "Addresses that people ask from in two days; default: one for each number, or start.", 0, 100_000_000_000, 0
    )
    checks: float = _member("Checked codes for each start.", 0, 10, 1)
    resends: float = _member("Further messages for each start.", 0, 10, 0.1)
    idempotent: float = _member("Share of starts with an idempotency key.", 0, 1, 1)
    latency: float = _member("Seconds that a gateway takes for a call.", 0.001, 120, 0.2)
    price: float = _member("Price of a message.", 0, 1_000_000, 0)
    rows: Literal["events", "verifications"] = field(
        default="events", metadata={"words": "What has a row in the ledger: ledger.rows."}
    )
    retention: float = _member("Days for verifications and events: retention.traffic.", 1, 7300, 400)
    audit_retention: float = _member("Days for the audit chain: retention.audit.", 90, 7300, 3650)
    spare: float = _member("Share of each processor that stays free at peak.", 0, 0.95, 0.5)
    core: float = _member("Speed of a core; 1 is as measured.", 0.1, 10, 1)
    replicas: float = _member("Replicas of each primary.", 0, 5, 2)

    def __post_init__(self) -> None:
        for one in (one for one in fields(self) if one.type is float):
            least, most = one.metadata["bounds"]
            if not least <= getattr(self, one.name) <= most:
                raise ValueError(f"{one.name.replace('_', ' ').capitalize()} must be from {least:,} to {most:,}.")
        if self.mean > self.starts:
            raise ValueError("The mean cannot be above the peak.")

    @property
    def daily(self) -> float:
        """Starts in a day."""
        return _DAY * (self.mean or self.starts / _PEAK_OF_MEAN)

    @property
    def messages(self) -> float:
        """For each start."""
        return 1 + self.resends

    @property
    def folds(self) -> bool:
        """Whether a row of a verification holds its events."""
        return self.rows == "verifications"

    @property
    def waiting(self) -> float:
        """Events in Redis at peak that wait for the end of their verification, or behind one that nobody ends."""
        return self.starts * RECORD_SECONDS * self.events

    @property
    def events(self) -> float:
        """For each start: of each message three, when it is asked for, sent and reported, and one of each check."""
        return 3 * self.messages + self.checks


class Basis(StrEnum):
    """How an amount is known."""

    MEASURED = "measured"
    """It follows from the load and what was measured alone."""
    ESTIMATED = "estimated"
    """Something in it was not measured here, or nobody has seen it at this size."""


class Line(NamedTuple):
    """An amount of something that is needed."""

    part: str
    what: str
    amount: float
    unit: str
    basis: Basis = Basis.MEASURED


@dataclass(frozen=True)
class Sizing:
    """What a load needs."""

    load: Load
    figures: Mapping[str, Figure]

    @property
    def primary_bears(self) -> float:
        """Starts a second, with all that follows from them, that one primary bears."""
        return self._free / self._sum("valkey")

    @property
    def primaries(self) -> int:
        """How many there have to be; more than one are a cluster, where a start costs more."""
        if self.load.starts <= self.primary_bears:
            return 1
        return max(2, math.ceil(self.load.starts * self._sum("valkey", CLUSTER_START) / self._free))

    @property
    def is_cluster(self) -> bool:
        """Whether one primary is not enough."""
        return self.primaries > 1

    @property
    def memory(self) -> float:
        """Bytes that each primary has in use."""
        return sum(size for size, _ in self._kept().values()) / self.primaries

    def lines(self) -> Iterator[Line]:
        """Yield all that is needed."""
        yield from self._redis()
        yield from self._memory()
        yield from self._processes()
        yield from self._ledger()
        yield from self._network()
        yield from self._money()

    def _redis(self) -> Iterator[Line]:
        cores = self.load.starts * self._sum("valkey", CLUSTER_START if self.is_cluster else 1) / 1e6 / self.load.core
        basis = Basis.ESTIMATED if self.is_cluster else Basis.MEASURED
        yield Line("Redis", "starts that one primary bears", self.primary_bears, "a second", Basis.ESTIMATED)
        yield Line("Redis", "processor time at peak", cores, "cores", basis)
        yield Line("Redis", "primaries", self.primaries, "servers", Basis.ESTIMATED)
        yield Line("Redis", "replicas", self.primaries * self.load.replicas, "servers", Basis.ESTIMATED)

    def _memory(self) -> Iterator[Line]:
        if self.load.folds:
            yield Line("Redis", "streams.max_events of all buckets", self.load.waiting, "events", Basis.ESTIMATED)
        for what, (size, basis) in self._kept().items():
            yield Line("Redis", what, size / 1e9, "GB", basis)
        yield Line("Redis", "memory of a primary", self.memory / 1e9, "GB", Basis.ESTIMATED)

    def _kept(self) -> Mapping[str, tuple[float, Basis]]:
        """Return the bytes of what Redis keeps."""
        load = self.load
        named = min(REMEMBERED, max(1, load.daily * load.known_days / max(1, load.known))) - 1
        networks = load.networks or min(load.known, load.daily * NETWORK_DAYS)
        record = self._of("record") + load.messages * self._of("dispatch")
        keys = load.daily * IDEMPOTENCY_SECONDS / _DAY * load.idempotent
        waiting = {"events that wait for an end": (load.waiting * self._of("waiting_event"), Basis.ESTIMATED)}
        return {
            "known numbers": (
                load.known * (self._of("number") + named * self._of("number_verification")), Basis.ESTIMATED,
            ),
            "networks of end users": (
                networks * self._of("network"), Basis.MEASURED if load.networks else Basis.ESTIMATED,
            ),
            "live verifications": (load.starts * RECORD_SECONDS * record, Basis.MEASURED),
            "idempotency keys": (keys * self._of("idempotency_key"), Basis.MEASURED),
            **(waiting if load.folds else {}),
        }  # fmt: skip

    def _processes(self) -> Iterator[Line]:
        load, free = self.load, self._free / 1e6
        cores = load.starts * (load.messages * self._of("api_start") + load.checks * self._of("api_check")) / 1e6
        calls = load.starts * load.messages * load.latency / THREADS / self._of("worker_busy")
        work = load.starts * load.messages * self._of("worker_message") / 1e6 / free
        recording = self._of("recording_folded" if load.folds else "recording")
        records = load.starts * load.events * (PAUSE / BATCH + recording / 1e6 / load.core)
        yield Line("API", "processor time at peak", cores / load.core, "cores")
        yield Line("API", "to answer", math.ceil(cores / free), "processes")
        yield Line("workers", "to call gateways", math.ceil(max(calls, work)), "processes")
        yield Line("workers", "to record events", math.ceil(records), "processes", Basis.ESTIMATED)

    def _ledger(self) -> Iterator[Line]:
        load, events = self.load, self.load.events
        kind, entries = ("ledger_folded", 1) if load.folds else ("ledger", 1 + events)
        traffic = self._of(f"{kind}_verification") + events * self._of(f"{kind}_event")
        audit, rows = entries * self._of("ledger_audit_entry"), 2 * entries
        daily = load.daily / 1e9
        yield Line("ledger", "rows at peak", load.starts * rows, "a second")
        yield Line("ledger", "rows", load.daily * rows, "a day")
        yield Line("ledger", "verifications and events", daily * traffic, "GB a day")
        yield Line("ledger", "audit chain", daily * audit, "GB a day")
        kept = traffic * load.retention + audit * load.audit_retention
        yield Line("ledger", "all that is kept", daily * kept / 1000, "TB", Basis.ESTIMATED)

    def _network(self) -> Iterator[Line]:
        replicated = self._sum("replicated") * self.load.replicas
        yield Line("network", "between processes and Redis", self._megabits(self._sum("wire")), "Mbit/s")
        yield Line("network", "from primaries to replicas", self._megabits(replicated), "Mbit/s", Basis.ESTIMATED)

    def _money(self) -> Iterator[Line]:
        messages = self.load.daily * self.load.messages
        yield Line("money", "messages", messages, "a day")
        if self.load.price:
            yield Line("money", PRICE, messages * self.load.price, "a day")

    @property
    def _free(self) -> float:
        """Microseconds of this machine's processors that a core gives to the work at peak, in a second."""
        return 1e6 * (1 - self.load.spare) * self.load.core

    def _sum(self, what: str, start_factor: float = 1) -> float:
        """Return what a start takes with all that follows from it; a further message costs as much as a start."""
        load = self.load
        return (
            load.messages * (start_factor * self._of(f"{what}_start") + self._of(f"{what}_delivery"))
            + load.checks * self._of(f"{what}_check")
            + load.events * self._of(f"{what}_event")
        )

    def _megabits(self, size: float) -> float:
        return self.load.starts * size * 8 / 1e6

    def _of(self, name: str) -> float:
        return self.figures[name].value
