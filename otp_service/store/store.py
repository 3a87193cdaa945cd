"""Everything that is kept in Redis, in one place."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import redis

from otp_service.domain.guard import Limits
from otp_service.domain.keyring import Keyring
from otp_service.domain.routing import BreakerThresholds
from otp_service.store import keys
from otp_service.store.connection import translate_errors
from otp_service.store.events import Attempts, Decisions, EventLog, History
from otp_service.store.factors import FactorStore
from otp_service.store.guard import Guard, Health, LimitReader
from otp_service.store.mirror import Fences, Mirror, Server
from otp_service.store.outbox import DeadLetters, Dispatches, Outbox, References, Replies
from otp_service.store.sandbox import SandboxMailbox
from otp_service.store.scripts import NO_RULES, CompiledRuleset, ScriptRunner, StreamLimits
from otp_service.store.traffic import TrafficStore
from otp_service.store.verifications import Verifications

_PAGE: Final = 100
"""Keys that are looked at in one step, in which the server does nothing else: some milliseconds."""


class FormerStates:
    """Converts what the release before kept of the guard's subjects, each part under a key of its own, into rows.

    It goes with the next release, and with it ``lua/former_convert.lua``.

    Converted: windows (``number``, ``failed_checks``, ``ip``, ``application``), a number's last verifications
    (``recent``), and of the guard ``reputation``, ``cooldown``, ``guesses``, ``block``, ``country``, ``address``,
    ``asked``, ``network``, ``provider``, ``failures``, ``spend`` and ``spendcountry``. All other keys are what they
    were. Raises `StoreUnavailableError` when Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, scripts: ScriptRunner) -> None:
        self._client = client
        self._scripts = scripts

    def convert(self, ruleset: CompiledRuleset) -> None:
        """Convert all that there is, once; to be called before a process serves.

        ``ruleset`` has the rules of numbers, which all applications share. Processes that start together do it side by
        side, until one of them is done; one that dies leaves it to the next. Nothing is changed once it is done: rows
        have become newer by then.
        """
        if self._convert((), ruleset, last=False):
            return
        cursor, converted = -1, False
        # A connection of its own: where it is lost the server may be another one, in which the cursor means nothing.
        with self._client.client() as held:  # type: ignore[no-untyped-call]
            while not converted:
                with translate_errors():
                    found: Any = held.scan(max(cursor, 0), match=f"{keys.PREFIX}:*", count=_PAGE)
                cursor, names = found
                converted = self._convert((name.decode() for name in names), ruleset, last=cursor == 0)

    def _convert(self, names: Iterable[str], ruleset: CompiledRuleset, *, last: bool) -> bool:
        """Convert what is old of some keys; return whether all is converted, by whomever."""
        return bool(self._scripts.run("former_convert", (keys.INSTALLATION, *names), (int(last),), ruleset))


@dataclass(frozen=True, slots=True)
class Store:
    """The parts of the store; all raise `StoreUnavailableError` when Redis cannot serve in time."""

    verifications: Verifications
    factors: FactorStore
    outbox: Outbox
    dispatches: Dispatches
    dead_letters: DeadLetters
    references: References
    health: Health
    history: History
    decisions: Decisions
    attempts: Attempts
    mailbox: SandboxMailbox
    replies: Replies
    limits: LimitReader
    fences: Fences
    guard: Guard
    events: EventLog
    traffic: TrafficStore
    mirror: Mirror
    server: Server
    former: FormerStates


def open_store(
    client: redis.Redis,
    scripts: ScriptRunner,
    keyring: Keyring,
    limits: Limits,
    rulesets: Mapping[str, CompiledRuleset],
    stream_limits: StreamLimits,
    breaker: BreakerThresholds,
) -> Store:
    """Return the store behind a client; opens no connection yet. ``rulesets`` by the name of the application."""
    fences = Fences(client, scripts)
    dispatches = Dispatches(client, scripts, stream_limits, rulesets)
    return Store(
        verifications=Verifications(scripts, stream_limits),
        factors=FactorStore(client, scripts),
        outbox=Outbox(client, scripts, stream_limits, keyring.buckets, dispatches.give_up),
        dispatches=dispatches,
        dead_letters=DeadLetters(client, scripts, stream_limits, keyring.buckets),
        references=References(client, scripts),
        health=Health(client, scripts, breaker),
        history=History(client, scripts, keyring.buckets),
        attempts=Attempts(client, keyring.buckets),
        decisions=Decisions(client, scripts, keyring.buckets, stream_limits),
        mailbox=SandboxMailbox(client, keyring),
        replies=Replies(client),
        limits=LimitReader(scripts, rulesets, limits, fences),
        fences=fences,
        guard=Guard(scripts, rulesets),
        traffic=TrafficStore(client, scripts),
        events=EventLog(client, stream_limits, keyring.buckets),
        mirror=Mirror(client, scripts),
        server=Server(client, scripts, keyring, (NO_RULES, *rulesets.values())),
        former=FormerStates(client, scripts),
    )
