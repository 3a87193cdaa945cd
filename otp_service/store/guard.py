"""What the guard keeps of somebody, as an operator sees it, and forgetting it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from otp_service.domain.guard import Ruleset
from otp_service.store import keys
from otp_service.store.connection import answered
from otp_service.store.scripts import ScriptRunner


@dataclass(frozen=True, slots=True)
class Spent:
    """How far a ceiling is used, in millionths."""

    interval: str
    """``hour`` or ``day``."""
    amount: int
    ceiling: int


@dataclass(frozen=True, slots=True)
class Stop:
    """A block or country whose breaker is open, or is tried again."""

    ends: int
    """When it is tried again: milliseconds since the epoch, by Redis' clock."""
    times: int
    """How often it was opened since it was last closed."""


class Guard:
    """Reads and forgets; it never counts."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner) -> None:
        self._client = client
        self._scripts = scripts

    def spent(self, ruleset: Ruleset, application: str, country: str = "") -> tuple[Spent, ...]:
        """Return how far an application's own ceilings, or those of a country, are used now."""
        ceilings = ruleset.ceilings_of(country) if country else ruleset.ceilings
        if not ceilings:
            return ()
        key = keys.spend_in_country(application, country) if country else keys.spend(application)
        now, kept = self._recall(key)
        amounts = []
        for ceiling in ceilings:
            interval, amount = kept.get(ceiling.name, (-1, 0))
            present = interval - now // ceiling.interval in {0, 1}
            amounts.append(Spent(ceiling.name, int(amount) if present else 0, ceiling.amount))
        return tuple(amounts)

    def stop(self, application: str, country: str) -> Stop | None:
        """Return the breaker of an application's country, unless it is closed."""
        _, kept = self._recall(keys.country(application, country))
        *_, ends, times, _ = kept.get("c", (0, 0, 0))
        return Stop(ends, times) if ends else None

    def forget_number(self, bucket: str, pseudonym: str, applications: Iterable[str]) -> int:
        """End the waits and locks of a number; return how many there were. What it was approved for stays."""
        guesses = (keys.guesses(bucket, one, pseudonym) for one in applications)
        return self._delete(keys.cooldown(bucket, pseudonym), *guesses)

    def forget_block(self, block: str) -> int:
        """Forget what holds a block back (its pseudonym), not its approvals; return 1 when there was anything."""
        return self._forget(keys.block(block))

    def forget_country(self, application: str, country: str) -> int:
        """Forget what holds an application's country back, not its approvals; return 1 when there was anything."""
        return self._forget(keys.country(application, country))

    def forget_network(self, network: str, wide_network: str = "", provider: str = "") -> int:
        """Forget what holds an end user's network back (pseudonyms), not its approvals; return how many counts."""
        wider = (keys.network(wide_network), keys.provider(provider)) if provider else ()
        return sum(map(self._forget, (keys.address(network), *wider))) + self._delete(keys.asked(network))

    def _recall(self, key: str) -> tuple[int, Mapping[str, Any]]:
        """Return the time in milliseconds, and what is kept under a key."""
        now, text = self._scripts.run("recall", (key,), ())
        return now, json.loads(text or b"{}")

    def _forget(self, key: str) -> int:
        return int(self._scripts.run("forget", (key,), ()))

    def _delete(self, *names: str) -> int:
        with answered():
            return sum(int(self._client.delete(name)) for name in names)
