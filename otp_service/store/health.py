"""The health of gateways, kept in Redis so that all workers share it."""

from collections.abc import Mapping
from typing import Any

import redis

from otp_service.domain.verification import BreakerPolicy, BreakerState, Call, GatewayHealth
from otp_service.store import keys
from otp_service.store.connection import answered, milliseconds, now_of
from otp_service.store.scripts import ScriptRunner

BY_HAND = 30 * 24 * 3_600_000
"""Milliseconds for which a breaker stays open that is opened by hand, at most: every key expires."""


class Health:
    """The breakers of all gateways."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner, policy: BreakerPolicy) -> None:
        self._client = client
        self._scripts = scripts
        self._policy = policy

    def observe(
        self, gateway: str, dispatch_id: str, call: Call, leave_alone: float = 0, refusal: str = ""
    ) -> BreakerState | None:
        """Learn from a call; return the state that the breaker changed to, ``None`` when it did not change.

        ``leave_alone`` are the milliseconds that the gateway asked for, granted up to the longest block; ``refusal``
        says why it refuses our account, empty when it does not.
        """
        policy = self._policy
        answer = self._scripts.run(
            "observe",
            (keys.health(gateway), keys.flights(gateway)),
            (
                dispatch_id,
                call,
                round(min(leave_alone, policy.longest_block)),
                refusal,
                policy.run,
                policy.calls,
                policy.percent,
                policy.window,
                policy.block,
                policy.longest_block,
                policy.pause,
                policy.longest_pause,
            ),
        )
        match answer:
            case [b"opened", *_]:
                return BreakerState.OPEN
            case [b"closed"]:
                return BreakerState.CLOSED
            case _:
                return None

    def of(self, gateways: tuple[str, ...]) -> Mapping[str, GatewayHealth]:
        """Return how each gateway is now."""
        with answered(), self._client.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for gateway in gateways:
                pipeline.hgetall(keys.health(gateway))
                pipeline.zrange(keys.flights(gateway), 0, -1, withscores=True)
            time, *answers = pipeline.execute()
        now = milliseconds(time)
        found = zip(answers[::2], answers[1::2], strict=True)
        return {
            name: _health_of(fields, calls, now, self._policy.window)
            for name, (fields, calls) in zip(gateways, found, strict=True)
        }

    def open(self, gateway: str, milliseconds: int, by: str) -> None:
        """Open a breaker by hand, for `BY_HAND` at most; then it is tried. ``by`` says who does it."""
        block = min(milliseconds, BY_HAND)
        with answered(), self._client.pipeline(transaction=True) as pipeline:
            until = now_of(self._client) + block
            pipeline.delete(keys.health(gateway))
            pipeline.hset(keys.health(gateway), mapping={"until": until, "block": block, "hand": by})
            pipeline.pexpire(keys.health(gateway), block + BY_HAND)
            pipeline.execute()

    def close(self, gateway: str) -> None:
        """Close a breaker by hand, and forget what was counted."""
        with answered():
            self._client.delete(keys.health(gateway))


def _health_of(fields: Mapping[bytes, bytes], calls: list[tuple[bytes, float]], now: int, window: int) -> GatewayHealth:
    values: dict[str, Any] = {name.decode(): value for name, value in fields.items()}
    until, paused = int(values.get("until", 0)), int(values.get("paused", 0))
    present = now - int(values.get("since", 0)) < window
    opened = BreakerState.OPEN if until > now else BreakerState.HALF_OPEN
    return GatewayHealth(
        state=opened if until else BreakerState.CLOSED,
        by_hand=values.get("hand", b"").decode(),
        opens_in=max(0, until - now),
        block=int(values.get("block", 0)),
        calls=int(values.get("calls", 0)) if present else 0,
        bad=int(values.get("bad", 0)) if present else 0,
        in_flight=sum(end > now for _, end in calls) if calls else None,
        paused=max(0, paused - now),
        refusal=values.get("refusal", b"").decode(),
        refused=max(0, now - int(values.get("refused", now))),
    )
