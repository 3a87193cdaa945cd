"""Tallies of newcomers and known numbers, and what was learnt of them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import redis

from otp_service.domain.tallies import Tallies, Tally, What, Who, parse_tally
from otp_service.domain.traffic import CountryTraffic, pack_place, unpack_place
from otp_service.store import keys
from otp_service.store.connection import translate_errors
from otp_service.store.scripts import CompiledRuleset, ScriptRunner

_VERSION: Final = "version"
SUSPICION_LIFE: Final = 600_000
"""Milliseconds for which a suspicion stands that nobody renews, because nobody judges."""


@dataclass(frozen=True, slots=True)
class Meets:
    """What newcomers meet in a country, or in a carrier range: see `Suspicion`."""

    name: str
    """The country, or the range."""
    ask: bool
    trickle: int
    checked: bool
    usual: float = 0.0
    """Approvals of newcomers in a usual day."""
    ranges: tuple["Meets", ...] = ()
    """Those of a country that have an alarm of their own."""


class TrafficStore:
    """What the worker counts and learns. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner) -> None:
        self._client = client
        self._scripts = scripts

    def add(self, tallies: Tallies) -> None:
        """Add to the tallies."""
        with translate_errors(), self._client.pipeline(transaction=False) as pipeline:
            for application, counts in tallies.items():
                key = keys.tallies(application)
                for one, count in counts.items():
                    pipeline.hincrby(key, str(one), count)
                pipeline.expire(key, keys.tallies.seconds)
            pipeline.execute()

    def lift(self, application: str, country: str) -> None:
        """Let whoever judges end the alarms of a country."""
        self.add({application: {Tally(country, "", 0, Who.NEWCOMER, What.LIFTED): 1}})

    def lead(self, name: str) -> bool:
        """Take the lease to judge, or renew it; tell whether this process has it.

        It saves work; what is right does not depend on it (see `commit`).
        """
        with translate_errors():
            if self._client.set(keys.JUDGE, name, nx=True, ex=keys.judge.seconds):
                return True
            if self._client.get(keys.JUDGE) != name.encode():
                return False
            return bool(self._client.expire(keys.JUDGE, keys.judge.seconds))

    def tallies(self, application: str) -> tuple[str, Mapping[Tally, int]]:
        """Return the version of what is learnt of an application, and the tallies."""
        with translate_errors():
            version: Any = self._client.hget(keys.traffic(application), _VERSION)
            counted: Any = self._client.hgetall(keys.tallies(application))
        return (version or b"0").decode(), {parse_tally(one.decode()): int(count) for one, count in counted.items()}

    def learnt(self, application: str) -> tuple[str, dict[str, CountryTraffic]]:
        """Return what is learnt of an application by country, and its version. Raises `ValueError` for another form."""
        with translate_errors():
            kept: Any = self._client.hgetall(keys.traffic(application))
        version = kept.pop(_VERSION.encode(), b"0").decode()
        countries: dict[str, CountryTraffic] = {}
        for name, packed in kept.items():
            country, _, carrier_range = name.decode().partition("/")
            traffic = countries.setdefault(country, CountryTraffic())
            if carrier_range:
                traffic.ranges[carrier_range] = unpack_place(packed)
            else:
                traffic.whole = unpack_place(packed)
        return version, countries

    def commit(
        self,
        application: str,
        version: str,
        learnt: Mapping[str, tuple[CountryTraffic, Iterable[str]]],
        judged: Mapping[Tally, int],
        meets: tuple[Meets, ...],
        ruleset: CompiledRuleset,
    ) -> bool:
        """Keep what was learnt of some countries, each with the ranges that changed; take off the tallies it is of.

        All in one step, and only if what is learnt is still of that ``version``; return whether it was.
        """
        fields = [part for country, (traffic, changed) in learnt.items() for part in _fields(country, traffic, changed)]
        told = {"judged": {str(one): count for one, count in judged.items()}, "meets": [asdict(one) for one in meets]}
        countries = (keys.country(application, one.name) for one in meets)
        life = 1000 * keys.traffic.seconds
        return bool(
            self._scripts.run(
                "traffic_commit",
                (keys.traffic(application), keys.tallies(application), *countries),
                (version, life, SUSPICION_LIFE, json.dumps(told), *fields),
                ruleset,
            )
        )


def _fields(country: str, traffic: CountryTraffic, changed: Iterable[str]) -> Iterable[str | bytes]:
    yield country
    yield pack_place(traffic.whole)
    for one in changed:
        yield f"{country}/{one}"
        yield pack_place(traffic.ranges[one])
