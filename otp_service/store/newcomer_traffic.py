"""Tallies of newcomers and known numbers, and the traffic learnt from them."""

import heapq
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

import redis

from otp_service.domain.guard import HOUR
from otp_service.domain.newcomer_traffic import CountryTraffic, pack_place, unpack_place
from otp_service.domain.tallies import Blocks, Standing, Tallies, Tally, TallyKind, parse_tally
from otp_service.store import keys
from otp_service.store.cluster import ClusterClient
from otp_service.store.connection import translate_errors
from otp_service.store.rulesets import CompiledRuleset
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.signatures import guard as signed
from otp_service.store.signatures.common import KeyList

_VERSION: Final = "version"
SUSPICION_LIFE: Final = 600_000
"""Milliseconds for which a suspicion stands without a judgement that renews it."""
_MAX_BLOCKS, _READ_BLOCKS = 5000, 100
"""Busiest blocks of an hour that are stored, and that are read."""


@dataclass(frozen=True, slots=True)
class BlockCount:
    """Unapproved starts of newcomers in a block of numbers, over all applications."""

    block: str
    """Pseudonym."""
    country: str
    number_prefix: str
    hour: float
    """Starts in about the last hour."""
    day: float


@dataclass(frozen=True, slots=True)
class RangeSuspicion:
    """Restrictions of newcomers in a carrier range with an alarm of its own: see `Suspicion`."""

    name: str
    ask: bool
    checked_too: bool


@dataclass(frozen=True, slots=True)
class CountrySuspicion:
    """Restrictions of newcomers in a country."""

    name: str
    ask: bool = False
    checked_too: bool = False
    trickle: int = 0
    """Suspected newcomers that pass in an hour without a check."""
    usual: float = 0.0
    """Approvals of newcomers in a usual day."""
    ranges: tuple[RangeSuspicion, ...] = ()


class TrafficStore:
    """The worker's counts and learnt traffic. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner, buckets: tuple[str, ...]) -> None:
        self._client = client
        self._scripts = scripts
        self._buckets = buckets

    def add(self, bucket: str, tallies: Tallies, blocks: Blocks = MappingProxyType({})) -> None:
        """Add to the tallies, and to the counts of a bucket's blocks, except those whose server is away.

        A repetition would count twice on the other servers.
        """
        with translate_errors(), self._client.pipeline(transaction=False) as pipeline:
            for hour, starts in blocks.items():
                of_hour = keys.blocks(bucket, hour)
                for block, count in starts.items():
                    pipeline.zincrby(of_hour, count, block)
                pipeline.zremrangebyrank(of_hour, 0, -_MAX_BLOCKS - 1)
                pipeline.expire(of_hour, keys.blocks.seconds)
            for application, counts in tallies.items():
                key = keys.tallies(application)
                for tally, count in counts.items():
                    pipeline.hincrby(key, str(tally), count)
                pipeline.expire(key, keys.tallies.seconds)
            pipeline.execute(raise_on_error=not isinstance(self._client, ClusterClient))

    def busiest_blocks(self, now: int, max_blocks: int) -> list[BlockCount]:
        """Return the blocks with the most unapproved starts in the day before a time (ms), the busiest first."""
        last, count = now // HOUR, len(self._buckets)
        with translate_errors(), self._client.pipeline(transaction=False) as pipeline:
            for hour in range(last, last - 25, -1):
                for bucket in self._buckets:
                    pipeline.zrevrange(keys.blocks(bucket, hour), 0, _READ_BLOCKS - 1, withscores=True)
            answers: list[Any] = pipeline.execute()
        of_hours = [list(chain(*answers[place : place + count])) for place in range(0, len(answers), count)]
        hours = [{name.decode(): score for name, score in of_hour if score > 0} for of_hour in of_hours]
        part = 1 - now % HOUR / HOUR  # of the oldest hour
        counts = []
        for name in {name for hour in hours for name in hour}:
            block, country, number_prefix = name.split("/")
            first, *others = (hour.get(name, 0.0) for hour in hours)
            day = first + sum(others[:-1]) + part * others[-1]
            counts.append(BlockCount(block, country, number_prefix, first + part * others[0], day))
        return heapq.nlargest(max_blocks, counts, key=lambda count: (count.day, count.block))

    def lift(self, application: str, country: str) -> None:
        """Have the judging worker end the alarms of a country."""
        self.add(self._buckets[0], {application: {Tally(country, "", 0, Standing.UNKNOWN, TallyKind.LIFTED): 1}})

    def lead(self, name: str) -> bool:
        """Take or renew the lease to judge; return whether this process has it.

        The lease only saves work: `commit` is right without it.
        """
        with translate_errors():
            if self._client.set(keys.JUDGE, name, nx=True, ex=keys.judge.seconds):
                return True
            if self._client.get(keys.JUDGE) != name.encode():
                return False
            return bool(self._client.expire(keys.JUDGE, keys.judge.seconds))

    def tallies(self, application: str) -> tuple[str, Mapping[Tally, int]]:
        """Return the version of an application's learnt traffic, and the tallies."""
        with translate_errors():
            version: Any = self._client.hget(keys.traffic(application), _VERSION)
            counted: Any = self._client.hgetall(keys.tallies(application))
        return (version or b"0").decode(), {parse_tally(name.decode()): int(count) for name, count in counted.items()}

    def learnt(self, application: str) -> tuple[str, dict[str, CountryTraffic]]:
        """Return the version of an application's learnt traffic, and the traffic by country.

        Raises `ValueError` for another form.
        """
        with translate_errors():
            stored: Any = self._client.hgetall(keys.traffic(application))
        version = stored.pop(_VERSION.encode(), b"0").decode()
        countries: dict[str, CountryTraffic] = {}
        for name, packed in stored.items():
            country, _, number_prefix = name.decode().partition("/")
            traffic = countries.setdefault(country, CountryTraffic())
            if number_prefix:
                traffic.ranges[number_prefix] = unpack_place(packed)
            else:
                traffic.whole = unpack_place(packed)
        return version, countries

    def commit(
        self,
        application: str,
        version: str,
        learnt: Mapping[str, tuple[CountryTraffic, Iterable[str]]],
        judged: Mapping[Tally, int],
        suspicions: tuple[CountrySuspicion, ...],
        ruleset: CompiledRuleset,
    ) -> bool:
        """Store the learnt traffic of countries, each with the ranges that changed, and subtract the judged tallies.

        This is one step, and only done for the present ``version``; returns whether it was. Then each bucket gets the
        suspicions; a bucket whose server is away keeps its former ones.
        """
        fields: list[str | bytes] = []
        for country, (traffic, changed) in learnt.items():
            fields += [country, pack_place(traffic.whole)]
            for prefix in changed:
                fields += [f"{country}/{prefix}", pack_place(traffic.ranges[prefix])]
        counts = {str(tally): count for tally, count in judged.items()}
        names = signed.TrafficCommitKeys(keys.traffic(application), keys.tallies(application))
        arguments = signed.TrafficCommitArguments(
            version, 1000 * keys.traffic.seconds, json.dumps(counts), tuple(fields)
        )
        if not self._scripts.call(signed.TRAFFIC_COMMIT, names, arguments):
            return False
        if suspicions:
            note = signed.SuspicionsNoteArguments(
                SUSPICION_LIFE, json.dumps([asdict(suspicion) for suspicion in suspicions])
            )
            countries = [
                KeyList(tuple(keys.country(bucket, application, suspicion.name) for suspicion in suspicions))
                for bucket in self._buckets
            ]
            self._scripts.call_all(signed.SUSPICIONS_NOTE, [(of_bucket, note) for of_bucket in countries], ruleset)
        return True
