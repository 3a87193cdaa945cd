"""The guard's state of numbers, addresses and gateways, read and reset by operators."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis

from otp_service.domain.guard import DAY, Limit, Limits, LimitScope, Ruleset
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
from otp_service.store.signatures.gateways import GATEWAY_OBSERVE, Closed, GatewayObserveArguments, Opened, Unchanged
from otp_service.store.signatures.signature import NoArguments


@dataclass(frozen=True, slots=True)
class CeilingUse:
    """The use of a ceiling, in millionths."""

    interval: str
    """``hour`` or ``day``."""
    amount: int
    ceiling: int


@dataclass(frozen=True, slots=True)
class CountryBreaker:
    """The open or half-open breaker of a country."""

    ends: int
    """Next attempt: milliseconds since the epoch, by Redis' clock."""
    times: int
    """How often it opened since it was last closed."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters of a number, or of an application's user. Times are milliseconds since the epoch."""

    approved: int = 0
    """Last approval; for an application, from a known device. 0 for never."""
    devices: tuple[int, ...] = ()
    """Last approval from each known device."""
    messages: tuple[int, ...] = ()
    """Last messages; for an application, those to known devices."""
    wrong_codes: tuple[int, ...] = ()
    """Last wrong codes."""
    locked_until: int = 0
    """0 without a lock."""

    @property
    def is_empty(self) -> bool:
        return self == Counters()


class Guard:
    """The guard's counts, read and reset by operators."""

    def __init__(self, scripts: ScriptRunner, keyring: Keyring, rulesets: Mapping[str, CompiledRuleset]) -> None:
        self._scripts = scripts
        self._keyring = keyring
        self._rulesets = rulesets

    def spent(self, ruleset: Ruleset, application: str, country: str = "") -> tuple[CeilingUse, ...]:
        """Return the present use of an application's own ceilings, or of those of a country."""
        ceilings = ruleset.ceilings_of(country) if country else ruleset.ceilings
        if not ceilings:
            return ()
        kind, names = (keys.country, (application, country)) if country else (keys.application, (application,))
        spent = dict.fromkeys((ceiling.name for ceiling in ceilings), 0)
        for bucket in self._keyring.buckets:
            now, stored = self._read(kind(bucket, *names))
            for ceiling in ceilings:
                interval, amount = stored.get(f"s{ceiling.name}", (-1, 0))
                if interval - now // ceiling.interval in {0, 1}:
                    spent[ceiling.name] += int(amount)
        return tuple(CeilingUse(ceiling.name, spent[ceiling.name], ceiling.amount) for ceiling in ceilings)

    def stop(self, application: str, country: str) -> CountryBreaker | None:
        """Return the breaker of an application's country, unless it is closed; the last to end of all buckets."""
        ends, times = 0, 0
        for bucket in self._keyring.buckets:
            _, values = self._read(keys.country(bucket, application, country))
            *_, ends_in_bucket, opened, _ = values.get("b", (0, 0, 0))
            ends, times = max((ends, times), (ends_in_bucket, opened))
        return CountryBreaker(ends, times) if ends else None

    def usual_in_block(self, block: str) -> float:
        """Return how many newcomers usually approve in a day in a block (a pseudonym)."""
        now, stored = self._read(self._block(block))
        approved = FadingCounter(*stored.get(f"a{BLOCK_MEMORY // 1000}", ()))
        return approved.value(now, BLOCK_MEMORY) * DAY / BLOCK_MEMORY

    def forget_number(self, bucket: str, pseudonym: str, applications: Iterable[str]) -> int:
        """End the waits and locks of a number; return how many there were. Its approvals stay."""
        names = NumberKeys(keys.number(bucket, pseudonym))
        arguments = signed.NumberUnblockArguments("waits", tuple(applications))
        return self._scripts.call(signed.NUMBER_UNBLOCK, names, arguments, _number_rules(self._rulesets))

    def counters(
        self, to: Named, applications: Sequence[str], devices: str = ""
    ) -> tuple[Counters, Mapping[str, Counters]]:
        """Return the counters of a number or user, over all applications and by application.

        Only ``devices`` whose names begin so are included.
        """
        names, arguments = NumberKeys(_subject(to)), signed.DevicesArguments(devices, tuple(applications))
        shown = self._scripts.call(signed.NUMBER_SHOW, names, arguments, _number_rules(self._rulesets))
        return Counters(shown.approved, tuple(shown.devices), tuple(shown.sends)), {
            name: Counters(approved, (), tuple(sends), tuple(wrong), locked)
            for name, (approved, sends, wrong, locked) in zip(applications, shown.applications, strict=True)
        }

    def forget_standing(self, to: Named, applications: Sequence[str], devices: str = "") -> None:
        """Delete a number's or user's approvals at some applications, and the devices whose names begin so.

        The counts of messages and wrong codes stay.
        """
        arguments = signed.DevicesArguments(devices, tuple(applications))
        self._scripts.call(signed.NUMBER_FORGET, NumberKeys(_subject(to)), arguments, _number_rules(self._rulesets))

    def forget_block(self, block: str) -> int:
        """Delete all that restricts a block (a pseudonym), not its approvals; return 1 when there was anything."""
        return self._forget([self._block(block)])

    def forget_country(self, application: str, country: str) -> int:
        """Delete all that restricts an application's country, not its approvals; return 1 when there was anything."""
        return self._forget([keys.country(bucket, application, country) for bucket in self._keyring.buckets])

    def forget_network(self, ip_prefix: str, prefix_48: str = "", prefix_32: str = "") -> int:
        """Delete all that restricts an end user's networks (pseudonyms), not approvals; return how many there were."""
        in_buckets = [keys.of_networks(bucket, ip_prefix, prefix_48, prefix_32) for bucket in self._keyring.buckets]
        return sum(map(self._forget, zip(*in_buckets, strict=True)))

    def _read(self, key: str) -> tuple[int, Mapping[str, Any]]:
        """Return the time in milliseconds, and the state of a subject by name."""
        now, values = self._scripts.call(signed.GUARD_READ, signed.SubjectKeys(key), NoArguments())
        return now, json.loads(values or b"{}")

    def _block(self, block: str) -> str:
        return keys.block(self._keyring.bucket(block), block)

    def _forget(self, names: Iterable[str]) -> int:
        """Delete all that restricts a subject in each bucket; return 1 when there was anything."""
        subjects = map(signed.SubjectKeys, names)
        return max([self._scripts.call(signed.GUARD_UNBLOCK, subject, NoArguments()) for subject in subjects])


def _subject(to: Named) -> str:
    kind = keys.user if isinstance(to, UserKey) else keys.number
    return kind(to.bucket, to.pseudonym)


def _number_rules(rulesets: Mapping[str, CompiledRuleset]) -> CompiledRuleset:
    """Return the rules of numbers, which all applications share."""
    return next(iter(rulesets.values()), NO_RULES)


@dataclass(frozen=True, slots=True)
class WindowState:
    """The use of a number's window."""

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
        number, names = NumberKeys(keys.number(bucket, pseudonym)), signed.Applications(tuple(applications))
        state = self._scripts.call(signed.NUMBER_READ, number, names, _number_rules(self._rulesets))
        windows = [_state(limit, None, state.sends, state.now) for limit in self._limits[LimitScope.NUMBER]]
        for name, times in zip(names.rest, state.wrong, strict=True):
            windows += [_state(limit, name, times, state.now) for limit in self._limits[LimitScope.FAILED_CHECKS]]
        return windows

    def reset(self, bucket: str, pseudonym: str, applications: Iterable[str]) -> int:
        """Clear the windows of a number; return how many were in use."""
        names = tuple(applications)
        used = sum(window.used > 0 for window in self.windows(bucket, pseudonym, names))
        number, arguments = NumberKeys(keys.number(bucket, pseudonym)), signed.NumberUnblockArguments("windows", names)
        self._scripts.call(signed.NUMBER_UNBLOCK, number, arguments, _number_rules(self._rulesets))
        return used


def _state(limit: Limit, application: str | None, times: Sequence[int], now: int) -> WindowState:
    """Return a window's state; ``times`` of its events and ``now`` are in milliseconds, the newest first."""
    present = [at for at in times if at + 1000 * limit.seconds >= now]
    reset_in = present[-1] / 1000 + limit.seconds - now / 1000 if present else 0.0
    return WindowState(limit, application, len(present), max(0, limit.amount - len(present)), reset_in)


MAX_MANUAL_OPEN: Final = 1000 * keys.health.seconds // 2
"""Most milliseconds for which a breaker is opened by hand: every key expires."""


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
        """Learn from a call; return the breaker's new state, ``None`` when it did not change.

        ``throttled_for`` is the pause that the gateway requested in milliseconds, at most `max_open_for`; ``refusal``
        is the reason why it refuses our account, or empty. A closed breaker counts the ``counted`` calls, in the order
        in which they began; by default the call itself.
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
        with translate_errors(), self._client.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for gateway in gateways:
                health, in_flight = self._scripts.gateway_keys(gateway)
                pipeline.hgetall(health)
                pipeline.zrange(in_flight, 0, -1, withscores=True)
            time, *answers = pipeline.execute()
        now, states = to_milliseconds(time), zip(gateways, answers[::2], answers[1::2], strict=True)
        return {name: _health_of(fields, calls, now, self._policy.window) for name, fields, calls in states}

    def open(self, gateway: str, milliseconds: int, by: str) -> None:
        """Open a breaker by hand, for `MAX_MANUAL_OPEN` at most; then a call is tried. ``by`` names the operator."""
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
        """Close a breaker by hand, and delete its counts."""
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
