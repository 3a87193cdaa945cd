"""Everything that is kept in Redis, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass

import redis

from otp_service.domain.guard import Limits
from otp_service.domain.keyring import Keyring
from otp_service.domain.verification import BreakerPolicy
from otp_service.store.attempts import Attempts
from otp_service.store.dead_letters import DeadLetters
from otp_service.store.decisions import Decisions
from otp_service.store.dispatches import Dispatches
from otp_service.store.events import EventLog
from otp_service.store.fence import Fences
from otp_service.store.guard import Guard
from otp_service.store.health import Health
from otp_service.store.history import History
from otp_service.store.installation import Server
from otp_service.store.limits import LimitReader
from otp_service.store.mailbox import Mailbox
from otp_service.store.mirror import Mirror
from otp_service.store.outbox import Outbox
from otp_service.store.references import References
from otp_service.store.replies import Replies
from otp_service.store.retention import Retention
from otp_service.store.rulesets import NO_RULES, LoadedRuleset
from otp_service.store.scripts import Around, ScriptRunner
from otp_service.store.verifications import Verifications


@dataclass(frozen=True, slots=True)
class Store:
    """The parts of the store; all raise `StoreUnavailableError` when Redis cannot serve in time."""

    verifications: Verifications
    outbox: Outbox
    dispatches: Dispatches
    dead_letters: DeadLetters
    references: References
    health: Health
    history: History
    decisions: Decisions
    attempts: Attempts
    mailbox: Mailbox
    replies: Replies
    limits: LimitReader
    fences: Fences
    guard: Guard
    events: EventLog
    mirror: Mirror
    server: Server


def open_store(
    client: redis.Redis,
    keyring: Keyring,
    limits: Limits,
    rulesets: Mapping[str, LoadedRuleset],
    retention: Retention,
    breaker: BreakerPolicy,
    around: Around | None = None,
) -> Store:
    """Return the store behind a client; opens no connection yet. ``rulesets`` by the name of the application."""
    scripts = ScriptRunner(client, around)
    fences = Fences(client, scripts)
    dispatches = Dispatches(client, scripts, retention, rulesets)
    return Store(
        verifications=Verifications(scripts, retention),
        outbox=Outbox(client, scripts, retention, keyring.buckets, dispatches.bury),
        dispatches=dispatches,
        dead_letters=DeadLetters(client, scripts, retention, keyring.buckets),
        references=References(client, scripts),
        health=Health(client, scripts, breaker),
        history=History(client, keyring.buckets),
        attempts=Attempts(client, keyring.buckets),
        decisions=Decisions(client, scripts, keyring.buckets, retention),
        mailbox=Mailbox(client, keyring),
        replies=Replies(client),
        limits=LimitReader(client, limits, fences),
        fences=fences,
        guard=Guard(client, scripts),
        events=EventLog(client, retention, keyring.buckets),
        mirror=Mirror(client, scripts),
        server=Server(client, scripts, keyring, (NO_RULES, *rulesets.values())),
    )
