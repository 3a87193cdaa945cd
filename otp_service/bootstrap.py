"""The composition root: settings in, wired objects out."""

import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import redis

from otp_service import __version__
from otp_service.domain.applications import APPLICATION_SCOPES, ApiKey
from otp_service.domain.keyring import Keyring
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
from otp_service.settings.schema import LedgerSettings, RedisSettings
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
    "The ledger has not been made.",
    "Make it: otp-service ledger upgrade",
)
LEDGER_OF_OTHER_KEY = StartRefusal(
    RefusalName.LEDGER_OF_OTHER_KEY,
    "OTP_SERVICE_PSEUDONYM_KEY",
    "The ledger was made with another pseudonym key: no number would match, and every opt-out would be void.",
    "Use the original key, or correct ledger.url.",
)
_DAY = 24 * 3600
_TELL_INTERVAL = 60.0
"""Seconds between two lines that tell that the ledger is awaited."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Installation:
    """One process' worth of the service."""

    settings: Settings
    context: Context
    client: redis.Redis

    def close(self) -> None:
        """Let go of connections and threads; to be called when nothing is done with it any more."""
        self.context.policies.close()
        for human_check in self.context.human_checks.values():
            human_check.close()
        self.context.ledger.close()
        self.client.close()


def connect(settings: Settings) -> redis.Redis:
    """Return a client for the configured Redis, of a cluster for the server that is named; opens no connection yet."""
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


def _ledger(settings: LedgerSettings, keyring: Keyring) -> Ledger:
    return Ledger(settings.url.get_secret_value(), settings.timeout, keyring.installation)


def _replication(
    settings: RedisSettings, client: redis.Redis, buckets: tuple[str, ...], slots: SlotMap | None
) -> Replication | None:
    """Return the settings for a Redis that a replica may replace; ``None`` for a server that is alone."""
    replicas = default_replicas(client, slots) if settings.replicas is None else settings.replicas
    if not settings.sentinels and not replicas and slots is None:
        return None
    return Replication(
        replicas,
        round(1000 * settings.timeout / 2),
        buckets,
        lambda: _log.warning("store_fenced"),
    )


def _script_runner(
    settings: Settings, client: redis.Redis, buckets: tuple[str, ...], slots: SlotMap | None
) -> ScriptRunner:
    context = tracing.script if settings.telemetry.traces is not None else None
    return ScriptRunner(client, context, _replication(settings.redis, client, buckets, slots), slots)


def install(settings: Settings, client: redis.Redis | None = None) -> Installation:
    """Wire an installation, by default over the configured Redis.

    Redis is asked only whether it is in cluster mode and has replicas; it need not answer. Raises `ConfigurationError`.
    """
    if settings.telemetry.traces is not None:
        tracing.require_available()
    keyring = settings.keyring()
    templates = load_templates(settings)
    ledger = _ledger(settings.ledger, keyring)
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
    gateways: dict[str, Gateway] = {}
    context = Context(
        keyring=keyring,
        store=store,
        ledger=ledger,
        mirror_sync=MirrorSync(ledger, store.mirror, keyring, rebuild_lost=_rebuilds_lost_mirror(settings)),
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
    gateways.update(_gateways(settings, context))  # last: they hand receipts in where all the rest is known
    return Installation(settings, context, plain)


def _proof_signer(settings: Settings, seeds: tuple[bytes, ...]) -> ProofSigner | None:
    if not (settings.proof_issuer and seeds):
        return None
    lives: dict[str, int] = {}
    for later in settings.purposes.values():
        lives |= {name: max(later.after_max_age, lives.get(name, 0)) for name in later.after}
    return ProofSigner(settings.proof_issuer, settings.proofs.life, seeds, lives)


def _stream_limits(settings: Settings) -> StreamLimits:
    return StreamLimits(
        age=settings.streams.retention_days * _DAY,
        outbox=settings.streams.max_outbox,
        events=settings.streams.max_events,
        decisions=settings.guard.decisions,
    )


def _rebuilds_lost_mirror(settings: Settings) -> bool:
    chosen = settings.ledger.rebuild_lost_mirror
    return not settings.production if chosen is None else chosen


def prepare(installation: Installation, *, waits_for_ledger: bool = False) -> None:
    """Make sure that Redis and the ledger may be used; to be called once before a process serves.

    With ``waits_for_ledger`` a ledger that does not answer is used once it does (`watch`); until then the process goes
    by what others noted in Redis. Raises `StartRefusedError` as `examine_ledger` does, when the data of Redis belong to
    other keys, and when it may evict counters; `StoreUnavailableError` when Redis does not answer, and
    `LedgerUnavailableError` when the ledger does not, and is not waited for. Logs a warning for each command that Redis
    lacks, with what follows.
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
    """Make sure that the ledger may be used, and let the process use it.

    Raises `StartRefusedError` when it belongs to another key, when another release made it, when it has not been made
    and no process may make it, or when authenticator apps need a root key that is not there; `LedgerUnavailableError`
    when it does not answer.
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
    """Return why the ledger does not answer: in our words, and in those of the driver or the system."""
    cause: BaseException = away
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return {"reason": str(away), "cause": str(cause).partition("\n")[0]}


class LedgerWait:
    """Examines a ledger that did not answer when the process began, until it does."""

    def __init__(self, installation: Installation) -> None:
        """Take an installation whose ledger is closed, or is not: then there is nothing to do."""
        self._installation = installation
        self._next_line = time.monotonic() + _TELL_INTERVAL

    def try_again(self) -> None:
        """Examine the ledger if it is still closed; one that is refused is told by name, and examined again."""
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
        """Note why the ledger is closed; tell whether to log it: where that is new, and once a minute."""
        ledger, now = self._installation.context.ledger, time.monotonic()
        is_news = ledger.database.gate.state != state or now >= self._next_line
        if is_news:
            self._next_line = now + _TELL_INTERVAL
        ledger.database.gate.state = state
        return is_news


def open_installation(settings: Settings, *, waits_for_ledger: bool = False) -> Installation:
    """Wire an installation and make sure that it may be used (`install`, `prepare`); what fails holds nothing open."""
    installation = install(settings)
    try:
        prepare(installation, waits_for_ledger=waits_for_ledger)
    except BaseException:
        installation.close()
        raise
    metrics.build_info.set(1.0, version=__version__)
    return installation


def watch(installation: Installation) -> PeriodicTasks:
    """Return what keeps a process informed of what others change; it is still to be started."""
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


def _remembered(settings: Settings) -> int:
    """Return for how many milliseconds a number's last verifications are remembered."""
    return 1000 * settings.streams.retention_days * _DAY


def _access_cache(settings: Settings, access: Access) -> AccessCache:
    remembered = _remembered(settings)
    members = {
        name: CachedApplication(
            application, compile_ruleset(settings.rulesets[name], remembered, settings.keys.buckets)
        )
        for name, application in settings.named_applications.items()
    }
    keys = {
        hashed: ApiKey(id="", application=application.name, hash=hashed, scopes=APPLICATION_SCOPES)
        for hashed, application in settings.application_of_key.items()
    }

    def load_application(name: str, text: str) -> CachedApplication:
        application, ruleset = parse_application(settings, name, text)
        return CachedApplication(application, compile_ruleset(ruleset, remembered, settings.keys.buckets))

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
