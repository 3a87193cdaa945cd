"""The composition root: settings in, wired objects out."""

import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import redis

from otp_service import __version__
from otp_service.domain.applications import APPLICATION_SCOPES, ApiKey, Application
from otp_service.domain.guard import Ruleset
from otp_service.domain.messages import segment_counter
from otp_service.domain.proofs import ProofSigner
from otp_service.domain.totp import PendingLimits
from otp_service.errors import (
    LedgerFormatError,
    LedgerMismatchError,
    LedgerUnavailableError,
    RefusalName,
    StartRefusal,
    StartRefusedError,
)
from otp_service.gateways.base import Gateway, GatewayContext
from otp_service.ledger.access import Access
from otp_service.ledger.ledger import Ledger
from otp_service.policies.base import Policies, PolicyContext, PolicyRunner
from otp_service.policies.human_checks import HumanCheckRunner
from otp_service.services.access_cache import AccessCache, CachedApplication, KeyUsage
from otp_service.services.context import Context
from otp_service.services.factors import root_key_refusal
from otp_service.services.gateway_calls import GatewayCalls
from otp_service.services.inbound import InboundReceiver
from otp_service.services.mirror import MirrorState, MirrorSync
from otp_service.services.periodic_tasks import PeriodicTasks
from otp_service.services.receipts import ReceiptRecorder
from otp_service.settings import Settings
from otp_service.settings.startup_checks import load_templates
from otp_service.settings.stored_applications import parse_application
from otp_service.store.cluster import ClusterClient, SlotMap
from otp_service.store.connection import Sentinels
from otp_service.store.connection import connect as connect_store
from otp_service.store.endpoint import default_replicas, find_slots
from otp_service.store.rulesets import compile_ruleset
from otp_service.store.script_runner import Replication, ScriptRunner
from otp_service.store.store import open_store
from otp_service.store.streams import StreamLimits
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import get_logger

LEDGER_NOT_MADE = StartRefusal(
    RefusalName.LEDGER_NOT_MADE,
    "ledger.upgrade",
    "The ledger does not exist yet.",
    "Create it: otp-service ledger upgrade",
)
LEDGER_OF_OTHER_KEY = StartRefusal(
    RefusalName.LEDGER_OF_OTHER_KEY,
    "OTP_SERVICE_PSEUDONYM_KEY",
    "The ledger was made with another pseudonym key: no number would match, and every opt-out would be void.",
    "Use the original key, or correct ledger.url.",
)
_DAY = 24 * 3600
_LOG_INTERVAL = 60.0
"""Seconds between log lines of the same state of the ledger."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Installation:
    """A wired process of the service."""

    settings: Settings
    context: Context
    client: redis.Redis

    def close(self) -> None:
        """Close connections and threads."""
        self.context.policies.close()
        for human_check in self.context.human_checks.values():
            human_check.close()
        self.context.ledger.close()
        self.client.close()


def connect(settings: Settings) -> redis.Redis:
    """Return a client for the configured Redis, or server of a cluster; opens no connection yet."""
    redis_settings = settings.redis
    password = redis_settings.sentinel_password
    addresses = [address.rsplit(":", 1) for address in redis_settings.sentinels]
    sentinels = Sentinels(
        [(host, int(port)) for host, port in addresses],
        redis_settings.sentinel_user,
        password.get_secret_value() if password else None,
    )
    return connect_store(
        redis_settings.url.get_secret_value(),
        timeout=redis_settings.timeout,
        connect_timeout=redis_settings.connect_timeout,
        sentinels=sentinels if addresses else None,
    )


def _script_runner(
    settings: Settings, client: redis.Redis, buckets: tuple[str, ...], slots: SlotMap | None
) -> ScriptRunner:
    context = tracing.script if settings.telemetry.traces is not None else None
    replicas = settings.redis.replicas
    if replicas is None:
        replicas = default_replicas(client, slots)
    replication = None  # for a server that no replica may replace
    if settings.redis.sentinels or replicas or slots is not None:
        wait = round(1000 * settings.redis.timeout / 2)
        replication = Replication(replicas, wait, buckets, lambda: _log.warning("store_fenced"))
    return ScriptRunner(client, context, replication, slots)


def install(settings: Settings, client: redis.Redis | None = None) -> Installation:
    """Wire an installation; raise `ConfigurationError`. It asks Redis, if it answers, for cluster mode and replicas."""
    if settings.telemetry.traces is not None:
        tracing.require_available()
    keyring = settings.keyring()
    templates = load_templates(settings)
    ledger = Ledger(settings.ledger.url.get_secret_value(), settings.ledger.timeout, keyring.installation)
    access_cache = _access_cache(settings, ledger.access)
    client = client or connect(settings)
    slots = find_slots(client)
    plain = cast("redis.Redis", ClusterClient(slots)) if slots else client
    store = open_store(
        plain,
        _script_runner(settings, client, keyring.buckets, slots),
        keyring,
        settings.limits.parsed,
        access_cache.rulesets,
        _stream_limits(settings),
        settings.breaker.thresholds,
    )
    access_cache.copy = store.access_copy
    rebuild_lost = settings.ledger.rebuild_lost_mirror
    if rebuild_lost is None:
        rebuild_lost = not settings.production
    gateways: dict[str, Gateway] = {}
    context = Context(
        keyring=keyring,
        store=store,
        ledger=ledger,
        mirror_sync=MirrorSync(ledger, store.mirror, keyring, rebuild_lost=rebuild_lost),
        access_cache=access_cache,
        key_uses=KeyUsage(ledger.api_keys),
        purposes=settings.named_purposes,
        limits=settings.limits.parsed,
        pending_limits=PendingLimits(
            settings.limits.pending_factors_of_user, math.ceil(settings.limits.pending_factors / len(keyring.buckets))
        ),
        destinations=settings.guard.destination_rules(),
        routes=settings.routing,
        gateways=gateways,
        gateway_limits=settings.gateway_limits,
        gateway_calls=GatewayCalls(settings.worker.concurrency, settings.gateway_limits),
        policies=_policies(settings),
        human_checks=_human_checks(settings),
        proof_signer=_proof_signer(settings, keyring.proof_seeds),
        prices=settings.prices,
        templates=templates,
        text_segments=segment_counter(templates),
        sending_rules=settings.sending_rules,
        inbound=settings.inbound.rules,
        webhooks=settings.webhooks.rules,
        public_url=settings.http.public_url,
    )
    gateways.update(_gateways(settings, context))  # last, since they record receipts in the whole context
    return Installation(settings, context, plain)


def _stream_limits(settings: Settings) -> StreamLimits:
    streams = settings.streams
    return StreamLimits(streams.retention_days * _DAY, streams.max_outbox, streams.max_events, settings.guard.decisions)


def _proof_signer(settings: Settings, seeds: tuple[bytes, ...]) -> ProofSigner | None:
    if not (settings.proof_issuer and seeds):
        return None
    lives: dict[str, int] = {}
    for later in settings.purposes.values():
        lives |= {name: max(later.after_max_age, lives.get(name, 0)) for name in later.after}
    return ProofSigner(settings.proof_issuer, settings.proofs.life, seeds, lives)


def prepare(installation: Installation, *, waits_for_ledger: bool = False) -> None:
    """Check that Redis and the ledger may be used. Call it once, before a process serves.

    With ``waits_for_ledger``, a ledger that does not respond is used as soon as it does (see `watch`); until then the
    process uses what other processes noted in Redis. Logs a warning for each command that Redis lacks, with the
    consequence.

    Raises `StartRefusedError` if Redis' data belong to other keys, if Redis may evict counters, and as `examine_ledger`
    does; `StoreUnavailableError` if Redis does not respond; unless it waits, `LedgerUnavailableError` if the ledger
    does not.
    """
    context = installation.context
    server, ledger = context.store.server, context.ledger
    server.check_eviction()
    for missing in server.missing_commands():
        _log.warning("store_command_missing", command=missing.command, reason=missing.sentence, advice=missing.action)
    server.require_own()  # neither Redis nor the ledger is claimed where the other one is another installation's
    silent: tuple[type[LedgerUnavailableError], ...] = (LedgerUnavailableError,) if waits_for_ledger else ()
    if waits_for_ledger:
        ledger.database.gate.state = MirrorState.UNAVAILABLE
    try:
        examine_ledger(installation)
    except silent as away:
        _log.warning("ledger_awaited", **_why(away))
    server.claim()
    server.load_scripts()
    server.delete_other_scripts()
    for look in (context.access_cache.follow, context.mirror_sync.refresh):
        with suppress(*silent):
            look()


def examine_ledger(installation: Installation) -> None:
    """Check that the ledger may be used, and open it to the process.

    Raises `StartRefusedError` for a ledger of another key or release, without its tables where no process may make
    them, or with authenticator apps of a missing root key; `LedgerUnavailableError` without an answer.
    """
    context, ledger = installation.context, installation.context.ledger
    try:
        with ledger.database.gate.passing():
            if installation.settings.ledger.upgrade:
                ledger.upgrade()
            elif ledger.database.lacks_file() or not ledger.is_made():
                raise StartRefusedError(LEDGER_NOT_MADE)
            ledger.database.claim()
            if needed := root_key_refusal(context):
                raise StartRefusedError(needed)
            if signer := context.proof_signer:
                ledger.proof_keys.note({kid: key.jwk for kid, key in signer.keys.items()})
    except LedgerMismatchError as other:
        raise StartRefusedError(LEDGER_OF_OTHER_KEY) from other
    except LedgerFormatError as other:
        raise StartRefusedError(ledger_of_other_format(other)) from other
    ledger.database.gate.state = ""


def ledger_of_other_format(error: LedgerFormatError) -> StartRefusal:
    """Return the refusal of a ledger that another release made."""
    action = "Use the release that made it, or another ledger."
    return StartRefusal(RefusalName.LEDGER_OF_OTHER_FORMAT, "ledger.url", str(error), action)


def _why(away: LedgerUnavailableError) -> dict[str, str]:
    """Return why the ledger does not respond: our reason, and the driver's or system's."""
    cause: BaseException = away
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return {"reason": str(away), "cause": str(cause).partition("\n")[0]}


class LedgerWait:
    """Examines a ledger that did not respond at the start until it does."""

    def __init__(self, installation: Installation) -> None:
        """Accept an installation whose ledger is closed or open."""
        self._installation = installation
        self._next_line = time.monotonic() + _LOG_INTERVAL

    def try_again(self) -> None:
        """Examine the ledger if it is still closed; log why it stays closed."""
        ledger = self._installation.context.ledger
        if not ledger.database.gate.state:
            return
        try:
            examine_ledger(self._installation)
        except StartRefusedError as refused:
            (why,) = refused.refusals
            if self._is_news(why.name):
                _log.error("ledger_refused", name=why.name, reason=why.sentence, advice=why.action)
        except LedgerUnavailableError as away:
            if self._is_news(MirrorState.UNAVAILABLE):
                _log.warning("ledger_awaited", **_why(away))
        else:
            _log.info("ledger_reached")

    def _is_news(self, state: str) -> bool:
        """Note why the ledger is closed; return whether to log it: a new reason at once, the same one once a minute."""
        ledger, now = self._installation.context.ledger, time.monotonic()
        is_news = ledger.database.gate.state != state or now >= self._next_line
        if is_news:
            self._next_line = now + _LOG_INTERVAL
        ledger.database.gate.state = state
        return is_news


def open_installation(settings: Settings, *, waits_for_ledger: bool = False) -> Installation:
    """Wire an installation and check that it may be used (`install`, `prepare`); close it on failure."""
    installation = install(settings)
    try:
        prepare(installation, waits_for_ledger=waits_for_ledger)
    except BaseException:
        installation.close()
        raise
    metrics.build_info.set(1.0, version=__version__)
    return installation


def watch(installation: Installation) -> PeriodicTasks:
    """Return the tasks that follow the changes of other processes; the caller starts them."""
    context = installation.context
    duties = {
        "mirror": context.mirror_sync.follow,
        "access": context.access_cache.follow,
        "key_uses": context.key_uses.write,
    }
    if context.ledger.database.gate.state:
        duties["ledger"] = LedgerWait(installation).try_again
    if installation.settings.redis.sentinels or context.store.scripts.is_cluster:
        duties["primary"] = context.store.server.follow_primary
    return PeriodicTasks(duties, on_stop=context.mirror_sync.abort_build)


def _access_cache(settings: Settings, access: Access) -> AccessCache:
    def cached(application: Application, ruleset: Ruleset) -> CachedApplication:
        remembered = 1000 * settings.streams.retention_days * _DAY
        return CachedApplication(application, compile_ruleset(ruleset, remembered, settings.keys.buckets))

    members = {
        name: cached(application, settings.rulesets[name]) for name, application in settings.named_applications.items()
    }
    keys = {
        hashed: ApiKey(id="", application=application.name, hash=hashed, scopes=APPLICATION_SCOPES)
        for hashed, application in settings.application_of_key.items()
    }

    def load_application(name: str, text: str) -> CachedApplication:
        return cached(*parse_application(settings, name, text))

    return AccessCache(members, keys, access, load_application)


def _gateways(settings: Settings, context: Context) -> dict[str, Gateway]:
    return {
        name: entry.plugin_class(
            entry.settings,
            GatewayContext(
                name,
                settings.production,
                context.store.mailbox,
                ReceiptRecorder(context, name),
                InboundReceiver(context, name),
            ),
        )
        for name, entry in settings.gateways.items()
    }


def _policies(settings: Settings) -> Policies:
    threads = settings.worker.concurrency
    runners = (
        PolicyRunner(
            name, entry.plugin_class(entry.settings, PolicyContext(name, settings.production)), entry.settings, threads
        )
        for name, entry in settings.policies.items()
    )
    return Policies(runners, threads)


def _human_checks(settings: Settings) -> dict[str, HumanCheckRunner]:
    return {
        name: HumanCheckRunner(
            name,
            entry.plugin_class(entry.settings, PolicyContext(name, settings.production)),
            entry.settings,
            settings.http.all_threads,
        )
        for name, entry in settings.human_checks.items()
    }
