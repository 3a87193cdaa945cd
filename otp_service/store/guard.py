"""What the guard keeps of numbers, addresses and gateways, read and reset by operators."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis

from otp_service.domain.guard import DAY, Ceiling, Limit, Limits, Ruleset
from otp_service.domain.guard_replay import FadingCounter
from otp_service.domain.keyring import Keyring
from otp_service.domain.newcomer_traffic import BLOCK_MEMORY
from otp_service.domain.numbers import Named
from otp_service.domain.routing import BreakerState, BreakerThresholds, CallResult, CountedCalls, GatewayHealth
from otp_service.domain.totp import UserKey
from otp_service.store import keys
from otp_service.store.connection import server_time, to_milliseconds, translate_errors
from otp_service.store.rulesets import NO_RULES, CompiledRuleset
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.signatures import guard as signed
from otp_service.store.signatures.common import NumberKeys
from otp_service.store.signatures.gateways import (
    GATEWAY_OBSERVE,
    Closed,
    GatewayObserveArguments,
    Opened,
    Unchanged,
)
from otp_service.store.signatures.signature import NoArguments


@dataclass(frozen=True, slots=True)
class CeilingUse:
    """How far a ceiling is used, in millionths."""

    interval: str
    """``hour`` or ``day``."""
    amount: int
    ceiling: int


@dataclass(frozen=True, slots=True)
class CountryBreaker:
    """A block or country whose breaker is open, or is tried again."""

    ends: int
    """When it is tried again: milliseconds since the epoch, by Redis' clock."""
    times: int
    """How often it was opened since it was last closed."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters of a number, or of an application's user. Times are milliseconds since the epoch."""

    approved: int = 0
    """When it was approved last; of an application, from a device of its own. 0 for never."""
    devices: tuple[int, ...] = ()
    """When each device was approved last that is known."""
    messages: tuple[int, ...] = ()
    """Times of the last messages; of an application, those to its known devices."""
    wrong_codes: tuple[int, ...] = ()
    """Times of the last wrong codes."""
    locked_until: int = 0
    """0 where it is not locked."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing."""
        return self == Counters()


class Guard:
    """The guard's counts, read and reset by operators."""

    def __init__(self, scripts: ScriptRunner, keyring: Keyring, rulesets: Mapping[str, CompiledRuleset]) -> None:
        self._scripts = scripts
        self._keyring = keyring
        self._rulesets = rulesets

    def spent(self, ruleset: Ruleset, application: str, country: str = "") -> tuple[CeilingUse, ...]:
        """Return how far an application's own ceilings, or those of a country, are used now."""
        ceilings = ruleset.ceilings_of(country) if country else ruleset.ceilings
        if not ceilings:
            return ()
        kind, names = (keys.country, (application, country)) if country else (keys.application, (application,))
        states = [self._read(kind(bucket, *names)) for bucket in self._keyring.buckets]
        return tuple(
            CeilingUse(ceiling.name, sum(_spent(ceiling, *state) for state in states), ceiling.amount)
            for ceiling in ceilings
        )

    def stop(self, application: str, country: str) -> CountryBreaker | None:
        """Return the breaker of an application's country, unless it is closed; of buckets the last one's."""
        ends, times = 0, 0
        for bucket in self._keyring.buckets:
            _, values = self._read(keys.country(bucket, application, country))
            *_, ends_in_bucket, opened, _ = values.get("b", (0, 0, 0))
            ends, times = max((ends, times), (ends_in_bucket, opened))
        return CountryBreaker(ends, times) if ends else None

    def usual_in_block(self, block: str) -> float:
        """Return how many newcomers usually approve in a day in a block (its pseudonym)."""
        now, kept = self._read(self._block(block))
        approved = FadingCounter(*kept.get(f"a{BLOCK_MEMORY // 1000}", ()))
        return approved.value(now, BLOCK_MEMORY) * DAY / BLOCK_MEMORY

    def forget_number(self, bucket: str, pseudonym: str, applications: Iterable[str]) -> int:
        """End the waits and locks of a number; return how many there were. What it was approved for stays."""
        names = NumberKeys(keys.number(bucket, pseudonym))
        arguments = signed.NumberUnblockArguments("waits", tuple(applications))
        return self._scripts.call(signed.NUMBER_UNBLOCK, names, arguments, _number_rules(self._rulesets))

    def counters(
        self, to: Named, applications: Sequence[str], devices: str = ""
    ) -> tuple[Counters, Mapping[str, Counters]]:
        """Return what is counted of a number or user, over all applications and by application.

        Of ``devices`` those whose names begin so.
        """
        shown = self._scripts.call(
            signed.NUMBER_SHOW,
            NumberKeys(_subject(to)),
            signed.DevicesArguments(devices, tuple(applications)),
            _number_rules(self._rulesets),
        )
        return Counters(shown.approved, tuple(shown.devices), tuple(shown.sends)), {
            name: Counters(approved, (), tuple(sends), tuple(wrong), locked)
            for name, (approved, sends, wrong, locked) in zip(applications, shown.applications, strict=True)
        }

    def forget_standing(self, to: Named, applications: Sequence[str], devices: str = "") -> None:
        """Forget what a number or user is known by at some applications: approvals, and devices whose names begin so.

        What counts messages and wrong codes stays.
        """
        arguments = signed.DevicesArguments(devices, tuple(applications))
        self._scripts.call(signed.NUMBER_FORGET, NumberKeys(_subject(to)), arguments, _number_rules(self._rulesets))

    def forget_block(self, block: str) -> int:
        """Forget what holds a block back (its pseudonym), not its approvals; return 1 when there was anything."""
        return self._forget([self._block(block)])

    def forget_country(self, application: str, country: str) -> int:
        """Forget what holds an application's country back, not its approvals; return 1 when there was anything."""
        return self._forget([keys.country(bucket, application, country) for bucket in self._keyring.buckets])

    def forget_network(self, ip_prefix: str, prefix_48: str = "", prefix_32: str = "") -> int:
        """Forget what holds an end user's network back (pseudonyms), not its approvals; return of how many networks."""
        in_buckets = [keys.of_networks(bucket, ip_prefix, prefix_48, prefix_32) for bucket in self._keyring.buckets]
        return sum(map(self._forget, zip(*in_buckets, strict=True)))

    def _read(self, key: str) -> tuple[int, Mapping[str, Any]]:
        """Return the time in milliseconds, and what is kept of a subject by name."""
        now, values = self._scripts.call(signed.GUARD_READ, signed.SubjectKeys(key), NoArguments())
        return now, json.loads(values or b"{}")

    def _block(self, block: str) -> str:
        return keys.block(self._keyring.bucket(block), block)

    def _forget(self, names: Iterable[str]) -> int:
        """Forget what holds a subject back in each bucket; return 1 when there was anything."""
        return min(
            1, sum(self._scripts.call(signed.GUARD_UNBLOCK, signed.SubjectKeys(name), NoArguments()) for name in names)
        )


def _spent(ceiling: Ceiling, now: int, kept: Mapping[str, Any]) -> int:
    """Return what counts in a ceiling, of what a bucket keeps."""
    interval, amount = kept.get(f"s{ceiling.name}", (-1, 0))
    return int(amount) if interval - now // ceiling.interval in {0, 1} else 0


def _subject(to: Named) -> str:
    kind = keys.user if isinstance(to, UserKey) else keys.number
    return kind(to.bucket, to.pseudonym)


def _number_rules(rulesets: Mapping[str, CompiledRuleset]) -> CompiledRuleset:
    """Return the rules of numbers, which all applications share."""
    return next(iter(rulesets.values()), NO_RULES)


@dataclass(frozen=True, slots=True)
class WindowState:
    """How far a number's window is used."""

    limit: Limit
    application: str | None
    """``None`` for windows that count over all applications."""
    used: int
    remaining: int
    reset_in: float
    """Seconds until the oldest event leaves the window; 0 when it is empty."""


class LimitReader:
    """Shows and clears a number's windows."""

    def __init__(self, scripts: ScriptRunner, rulesets: Mapping[str, CompiledRuleset], limits: Limits) -> None:
        self._scripts = scripts
        self._rulesets = rulesets
        self._limits = limits

    def windows(self, bucket: str, pseudonym: str, applications: Iterable[str]) -> list[WindowState]:
        """Return the state of every window of a number."""
        names = tuple(applications)
        key = keys.number(bucket, pseudonym)
        read = self._scripts.call(
            signed.NUMBER_READ, NumberKeys(key), signed.Applications(names), _number_rules(self._rulesets)
        )
        states = [_state(limit, None, read.sends, read.now) for limit in self._limits.number]
        for name, times in zip(names, read.wrong, strict=True):
            states += [_state(limit, name, times, read.now) for limit in self._limits.failed_checks]
        return states

    def reset(self, bucket: str, pseudonym: str, applications: Iterable[str]) -> int:
        """Forget what was counted for a number; return how many windows were."""
        names = tuple(applications)
        used = sum(window.used > 0 for window in self.windows(bucket, pseudonym, names))
        self._scripts.call(
            signed.NUMBER_UNBLOCK,
            NumberKeys(keys.number(bucket, pseudonym)),
            signed.NumberUnblockArguments("windows", names),
            _number_rules(self._rulesets),
        )
        return used


def _state(limit: Limit, application: str | None, times: Sequence[int], now: int) -> WindowState:
    """Return a window's state; ``times`` of its events and ``now`` are in milliseconds, the newest first."""
    present = [at for at in times if at + 1000 * limit.seconds >= now]
    reset_in = present[-1] / 1000 + limit.seconds - now / 1000 if present else 0.0
    return WindowState(limit, application, len(present), max(0, limit.amount - len(present)), reset_in)


MAX_MANUAL_OPEN: Final = 1000 * keys.health.seconds // 2
"""Milliseconds for which a breaker stays open that is opened by hand, at most: every key expires."""


class Health:
    """The breakers of all gateways."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner, policy: BreakerThresholds) -> None:
        self._client = client
        self._scripts = scripts
        self._policy = policy

    def observe(
        self,
        gateway: str,
        dispatch_id: str,
        call: CallResult,
        throttled_for: float = 0,
        refusal: str = "",
        counted: Iterable[CountedCalls] | None = None,
    ) -> BreakerState | None:
        """Learn from a call; return the state that the breaker changed to, ``None`` when it did not change.

        ``throttled_for`` are the milliseconds that the gateway asked for, granted up to `max_open_for`; ``refusal``
        says why it refuses our account, empty when it does not. A closed breaker counts the ``counted`` calls, in the
        order in which they began; by default the call itself.
        """
        if counted is None:
            counted = (CountedCalls(call, 1, 0),) if call in {CallResult.WELL, CallResult.BAD} else ()
        policy = self._policy
        reply = self._scripts.call(
            GATEWAY_OBSERVE,
            self._scripts.gateway_keys(gateway),
            GatewayObserveArguments(
                dispatch=dispatch_id,
                result=call,
                throttled_for=round(min(throttled_for, policy.max_open_for)),
                refusal=refusal,
                max_run=policy.run,
                min_calls=policy.calls,
                percent=policy.percent,
                window=policy.window,
                min_open=policy.open_for,
                max_open=policy.max_open_for,
                min_pause=policy.throttled_for,
                max_pause=policy.max_throttled_for,
                rest=tuple(value for calls in counted for value in (calls.result, calls.calls, calls.age)),
            ),
        )
        match reply:
            case Opened():
                return BreakerState.OPEN
            case Closed():
                return BreakerState.CLOSED
            case Unchanged():
                return None

    def of(self, gateways: tuple[str, ...]) -> Mapping[str, GatewayHealth]:
        """Return how each gateway is now."""
        with translate_errors(), self._client.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for gateway in gateways:
                health, in_flight = self._scripts.gateway_keys(gateway)
                pipeline.hgetall(health)
                pipeline.zrange(in_flight, 0, -1, withscores=True)
            time, *answers = pipeline.execute()
        now = to_milliseconds(time)
        states = zip(answers[::2], answers[1::2], strict=True)
        return {
            name: _health_of(fields, calls, now, self._policy.window)
            for name, (fields, calls) in zip(gateways, states, strict=True)
        }

    def open(self, gateway: str, milliseconds: int, by: str) -> None:
        """Open a breaker by hand, for `MAX_MANUAL_OPEN` at most; then it is tried. ``by`` says who does it."""
        open_for, (health, _) = min(milliseconds, MAX_MANUAL_OPEN), self._scripts.gateway_keys(gateway)
        with translate_errors(), self._client.pipeline(transaction=True) as pipeline:
            now = server_time(self._client)
            pipeline.delete(health)
            pipeline.hset(
                health, mapping={"until": now + open_for, "open_for": open_for, "opened": now, "opened_by": by}
            )
            pipeline.pexpire(health, open_for + MAX_MANUAL_OPEN)
            pipeline.execute()

    def close(self, gateway: str) -> None:
        """Close a breaker by hand, and forget what was counted."""
        with translate_errors():
            self._client.delete(self._scripts.gateway_keys(gateway).health)


def _health_of(fields: Mapping[bytes, bytes], calls: list[tuple[bytes, float]], now: int, window: int) -> GatewayHealth:
    values: dict[str, Any] = {name.decode(): value for name, value in fields.items()}
    until, paused = int(values.get("until", 0)), int(values.get("paused", 0))
    present = now - int(values.get("since", 0)) < window
    opened = BreakerState.OPEN if until > now else BreakerState.HALF_OPEN
    return GatewayHealth(
        state=opened if until else BreakerState.CLOSED,
        opened_by=values.get("opened_by", b"").decode(),
        probe_in=max(0, until - now),
        open_for=int(values.get("open_for", 0)),
        calls=int(values.get("calls", 0)) if present else 0,
        bad=int(values.get("bad", 0)) if present else 0,
        in_flight=sum(end > now for _, end in calls) if calls else None,
        throttled_for=max(0, paused - now),
        refusal=values.get("refusal", b"").decode(),
        refused=max(0, now - int(values.get("refused", now))),
    )
