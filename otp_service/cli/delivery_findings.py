"""What ``doctor`` finds about messages: gateways that are left alone, what was given up, what waits."""

from collections.abc import Iterator, Mapping

from otp_service.cli.findings import Finding, Level
from otp_service.cli.output import duration
from otp_service.domain.verification import BreakerState, GatewayHealth
from otp_service.services.context import Context
from otp_service.store.outbox import reasons_of

HOUR = 3_600_000
MOST = 1000
"""Dead letters that are looked at in each bucket."""
TOLERATED_LAG = 30.0
"""Seconds that a message may wait: then people notice."""
THE_NUMBERS_OWN = frozenset({"destination", "channel", "policy"})
"""Reasons that say something of the number, not of the installation: also where a policy denied it."""


def delivery_findings(context: Context) -> Iterator[Finding]:
    """Yield what the store tells of messages and gateways. Nothing is written."""
    store = context.store
    for name, health in store.health.of(tuple(context.gateways)).items():
        yield from gateway_findings(name, health)
    yield dead_letter_finding(reasons_of(store.dead_letters.since(HOUR, MOST)))
    yield backlog_finding(store.outbox.lag(), store.history.waiting())


def gateway_findings(name: str, health: GatewayHealth) -> Iterator[Finding]:
    """Judge how a gateway is; a healthy one needs no words."""
    if health.refusal:
        yield Finding(
            Level.FAIL,
            f"gateways.{name}",
            f"It refuses our account, for the last time {duration(health.refused // 1000)} ago: {health.refusal}.",
            f"Mend its key, credit, sender or address with its provider; then otp-service gateway resume {name}.",
        )
    if health.state is BreakerState.CLOSED:
        return
    _, words, left = state_of(health)
    yield Finding(
        Level.WARN,
        f"gateways.{name}",
        f"It is {words}, for {duration(-(-left // 1000))} yet." if left else f"It is {words}.",
        f"otp-service gateway resume {name}" if health.by_hand else "See otp-service gateway status, and its provider.",
    )


def state_of(health: GatewayHealth) -> tuple[str, str, int]:
    """Return the state of a gateway: its name, in words, and for how many milliseconds; 0 where nobody knows."""
    if health.state is BreakerState.OPEN:
        if health.by_hand:
            return "paused", f"paused by {health.by_hand}", health.opens_in
        why = "since it refuses our account" if health.refusal else "after failures"
        return "resting", f"resting {why}", health.opens_in
    if health.paused:
        return "throttled", "waiting, as its provider asked,", health.paused
    if health.state is BreakerState.HALF_OPEN:
        return "trying", "to be tried with the next message", 0
    return "taking_messages", "taking messages", 0


def dead_letter_finding(reasons: Mapping[str, int]) -> Finding:
    """Judge by how many messages were given up in the last hour, by reason."""
    ours = {reason: count for reason, count in reasons.items() if reason not in THE_NUMBERS_OWN}
    if not ours:
        return Finding(Level.OK, "dead letters", "In the last hour no message was given up that could have arrived.")
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(ours.items(), key=lambda pair: -pair[1]))
    return Finding(
        Level.WARN,
        "dead letters",
        f"Messages were given up in the last hour: {listed}.",
        "otp-service dead-letters list; the reasons are explained in docs/operations.md.",
    )


def backlog_finding(lag: float, waiting: Mapping[str, int]) -> Finding:
    """Judge by the seconds that the oldest message waits, and by how many wait, by application."""
    if lag <= TOLERATED_LAG:
        return Finding(Level.OK, "backlog", "No message waits for long.")
    listed = ", ".join(
        f"{count} of {name}" for name, count in sorted(waiting.items(), key=lambda pair: -pair[1]) if count
    )
    return Finding(
        Level.WARN,
        "backlog",
        f"The oldest message waits for {duration(round(lag))}: {listed}.",
        "Add workers, or find the gateway that is slow: otp-service gateway status.",
    )
