"""The parts of the store in Redis."""

from collections.abc import Mapping
from dataclasses import dataclass

import redis

from otp_service.domain.guard import Limits
from otp_service.domain.keyring import Keyring
from otp_service.domain.routing import BreakerThresholds
from otp_service.store.access import AccessCopy
from otp_service.store.events import Attempts, Decisions, EventLog, History
from otp_service.store.factors import FactorStore
from otp_service.store.guard import Guard, Health, LimitReader
from otp_service.store.inbox import Inbox
from otp_service.store.limit_sums import LimitSums
from otp_service.store.mirror import Fences, Mirror, Server
from otp_service.store.newcomer_traffic import TrafficStore
from otp_service.store.outbox import DeadLetters, Dispatches, Outbox, References, Replies
from otp_service.store.rulesets import NO_RULES, CompiledRuleset
from otp_service.store.sandbox import SandboxMailbox
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.streams import StreamLimits
from otp_service.store.verifications import Verifications


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
    inbox: Inbox
    limits: LimitReader
    fences: Fences
    guard: Guard
    events: EventLog
    traffic: TrafficStore
    limit_sums: LimitSums
    mirror: Mirror
    server: Server
    access_copy: AccessCopy
    client: redis.Redis
    """With ``scripts``, for the parts of extensions."""
    scripts: ScriptRunner


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
    dispatches = Dispatches(client, scripts, stream_limits, rulesets)
    sums = LimitSums(client, scripts, keyring.buckets, rulesets)
    return Store(
        verifications=Verifications(client, scripts, stream_limits, keyring.buckets, sums),
        factors=FactorStore(client, scripts, several_buckets=len(keyring.buckets) > 1),
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
        inbox=Inbox(client, keyring),
        limits=LimitReader(scripts, rulesets, limits),
        fences=Fences(client, scripts, keyring.buckets),
        guard=Guard(scripts, keyring, rulesets),
        limit_sums=sums,
        traffic=TrafficStore(client, scripts, keyring.buckets),
        events=EventLog(client, scripts, stream_limits, keyring.buckets),
        mirror=Mirror(client, scripts, keyring.buckets),
        server=Server(client, scripts, keyring, (NO_RULES, *rulesets.values())),
        access_copy=AccessCopy(scripts, keyring),
        client=client,
        scripts=scripts,
    )
