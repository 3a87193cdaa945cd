"""otp-service doctor: checks of a running installation.

A check that refuses a start belongs in `otp_service.settings.startup_checks`; the doctor shows those too.
"""

import fcntl
import os
import re
import resource
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from otp_service import clock
from otp_service.bootstrap import LEDGER_NOT_MADE, LEDGER_OF_OTHER_KEY, install, ledger_of_other_format
from otp_service.cli import output as out
from otp_service.cli.checks import FAIL, OK, WARN, Diagnosis, refusal_diagnosis
from otp_service.cli.common import Session, command
from otp_service.cli.network import certificate_problem, reach_gateways, reach_public_url
from otp_service.cli.output import count_of
from otp_service.domain.applications import Application, ClientIpSource
from otp_service.domain.guard import GUARD_RULES, Mode, Ruleset
from otp_service.domain.phrases import duration
from otp_service.domain.routing import BreakerState, GatewayHealth
from otp_service.domain.sending_rules import Approval
from otp_service.domain.verification import MAX_CODE_LIFE, RECORD_GRACE
from otp_service.domain.webhooks import EndpointStatus
from otp_service.errors import (
    ConfigurationError,
    LedgerFormatError,
    LedgerMismatchError,
    LedgerUnavailableError,
    RefusalName,
    StartRefusedError,
    StoreUnavailableError,
)
from otp_service.extensions import load_extensions
from otp_service.gateways.base import REPORTS_OVER_HTTP
from otp_service.ledger.database import MIN_FREE_MIB, REMEDIED
from otp_service.services.context import Context
from otp_service.services.factors import checks_wait, count_ahead, root_key_refusal
from otp_service.services.mirror import MISMATCHES, MirrorState
from otp_service.services.operations import gateway_state
from otp_service.services.sender_registrations import today
from otp_service.services.webhooks import root_keys_in_use
from otp_service.settings import Settings
from otp_service.settings.loader import CONFIG_VARIABLE
from otp_service.settings.schema import PurposeSettings
from otp_service.settings.startup_checks import (
    MIN_PASSWORD_LENGTH,
    is_sample,
    provider_secrets,
    start_refusals,
    unsafe_connections,
)
from otp_service.settings.urls import canonical_host, is_local, leads_elsewhere
from otp_service.store.connection import ConnectionProblem, certificate_error, connection_problem
from otp_service.store.endpoint import WAIT_NEEDED
from otp_service.store.inbox import WaitingMessage
from otp_service.store.mirror import NO_EVICTION, eviction_refusal
from otp_service.store.outbox import count_reasons
from otp_service.store.store import Store

# --- the settings ---------------------------------------------------------------------------------------------

ANY_UNLISTED_COUNTRY = "ZZ"
"""Stands for any country that no route names, for an application that may send to all countries."""


def application_diagnoses(name: str, application: Application, settings: Settings) -> Iterator[Diagnosis]:
    """Yield the faults of an application of the configuration or the ledger."""
    place = f"applications.{name}"
    if application.home is None:
        sentence = "It has no home: all countries count as abroad, where little passes, and may be closed altogether."
        yield Diagnosis(WARN, place, sentence, "Set home to the country that most of its traffic goes to.")
    is_connection = application.client_ip is ClientIpSource.CONNECTION
    if is_connection and settings.production and not settings.http.trusted_proxies:
        sentence = (
            'With client_ip = "connection" and no trusted proxy, all callers behind a proxy count as one address.'
        )
        action = "Set http.trusted_proxies to the number of proxies before the service."
        yield Diagnosis(WARN, place, sentence, action)
    yield from sorted(_gaps(name, application, settings), key=lambda gap: gap.level is not FAIL)


def _gaps(name: str, application: Application, settings: Settings) -> Iterator[Diagnosis]:
    """Yield the countries that no gateway reaches by a channel of a purpose: a failure for its first channel."""
    countries = sorted(application.countries or {ANY_UNLISTED_COUNTRY})
    for purpose in sorted(application.purposes):
        channels = settings.named_purposes[purpose].channels
        for channel in channels:
            missing = [c for c in countries if not settings.routing.gateways_for(c, purpose, channel)]
            if missing:
                shown = "some countries" if missing == [ANY_UNLISTED_COUNTRY] else ", ".join(missing)
                sentence = f"No gateway carries {channel} for {purpose} to {shown}."
                action = "Add a route or a gateway, or take the channel out of the purpose."
                level = FAIL if channel is channels[0] else WARN
                yield Diagnosis(level, f"applications.{name}", sentence, action)


def ceiling_diagnoses(name: str, rules: Ruleset) -> Iterator[Diagnosis]:
    """Yield a warning if no ceiling limits an application's spending."""
    if not rules.ceilings and not any(rules.ceilings_of_countries.values()):
        action = 'Set a ceiling such as day = "4000".'
        yield Diagnosis(WARN, f"applications.{name}.spend", "Nothing limits its spending.", action)


def purpose_diagnoses(name: str, purpose: PurposeSettings) -> Iterator[Diagnosis]:
    """Yield the times of a purpose that do not fit its messages."""
    place, ttl = f"purposes.{name}", purpose.ttl
    if purpose.max_sends > 1 and ttl <= (delay := purpose.resend_delays[0]):
        sentence = f"No message is ever sent again: the wait for it is {delay} s, and the code lives {ttl} s."
        yield Diagnosis(WARN, place, sentence, "Shorten resend_delays, lengthen ttl, or set max_sends to 1.")
    if ttl < 60:  # noqa: PLR2004 - a minute
        sentence = f'A code lives {ttl} s: messages say "less than a minute", and many arrive later.'
        yield Diagnosis(WARN, place, sentence, "Set ttl to 60 or more.")


def plugin_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield the gateways and policies, and the gateways that could report receipts, and have no address for it."""
    for name, gateway in settings.gateways.items():
        yield Diagnosis(OK, f"gateways.{name}", f"The settings of this {gateway.kind} gateway are complete.")
        reports = issubclass(gateway.plugin_class, REPORTS_OVER_HTTP) and gateway.settings.takes_receipts
        if reports and not (settings.http.public_url or gateway.plugin_class.development_only):
            sentence = "It could report delivery, but does not know the address of this service."
            yield Diagnosis(WARN, f"gateways.{name}", sentence, "Set http.public_url.")
    for name, policy in settings.policies.items():
        yield Diagnosis(OK, f"policies.{name}", f"The settings of this {policy.kind} policy are complete.")


def route_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield the gateways that a route names in vain, and whether all countries are reached."""
    offered = {channel for purpose in settings.named_purposes.values() for channel in purpose.channels}
    for position, route in enumerate(settings.routes):
        channels = set(route.channels) or offered
        for name in route.gateways:
            if not channels & settings.routing.channels_of[name]:
                sentence = f"The gateway {name} is never used: it carries none of {', '.join(sorted(channels))}."
                action = "Take it out of the route, or correct the route's channels."
                yield Diagnosis(WARN, f"routes.{position}", sentence, action)
    applications = settings.named_applications.items()
    if settings.applications and not any(any(_gaps(name, it, settings)) for name, it in applications):
        yield Diagnosis(OK, "routes", "Every application reaches every country of its list.")


def exposure_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield the settings of a production that show more to others than needed."""
    if (settings.http.public_url or "").startswith("http://"):
        yield Diagnosis(WARN, "http.public_url", "Receipts come in without encryption.", "Use the https:// address.")
    if networks := ", ".join(settings.webhooks.networks):
        sentence = f"Webhooks may go to {networks}: a key of the scope webhooks can call any service in them."
        yield Diagnosis(WARN, "webhooks.networks", sentence, "Take out the networks without a receiver.")
    if settings.http.metrics_on_same_port:
        sentence, action = (
            "Every caller of the service can read its metrics.",
            "Set it to false and use http.metrics_port.",
        )
        yield Diagnosis(WARN, "http.metrics_on_same_port", sentence, action)


def settings_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield what shows from the settings alone."""
    for name, application in settings.named_applications.items():
        yield from application_diagnoses(name, application, settings)
    if settings.profile:
        yield Diagnosis(OK, "profile", f"{settings.profile} is in force.")
    for name, purpose in settings.purposes.items():
        yield from purpose_diagnoses(name, purpose)
    yield from plugin_diagnoses(settings)
    yield from route_diagnoses(settings)
    yield from exposure_diagnoses(settings) if settings.production else ()
    for extension in load_extensions():
        yield from extension.checks(settings) if extension.checks else ()


_KEYS = {RefusalName.KEY_MISSING, RefusalName.KEY_INVALID, RefusalName.SAMPLE_KEY, RefusalName.KEY_USED_TWICE}


def key_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield the active root key, the others, and when these may be removed."""
    if any(reason.name in _KEYS for reason in start_refusals(settings)):
        return
    active, *others = settings.keyring().root_ids
    sentence = f"The pseudonym key is set. New verifications are made with the root key {active}"
    if not others:
        yield Diagnosis(OK, "keys", f"{sentence}.")
        return
    delay = max((purpose.ttl for purpose in settings.purposes.values()), default=MAX_CODE_LIFE) + RECORD_GRACE
    when = f"{duration(delay)} after the last process was reloaded with {active} in front"
    sentence = f"{sentence}; those of {', '.join(others)} are still known."
    yield Diagnosis(OK, "keys", sentence, f"A retired key may be removed {when}.")


def plaintext_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield the hosts that are reached without encryption, and those that may be and are not."""
    allowed = settings.plaintext_hosts
    lines = [(line.refusal.place, line.host, line.how) for line in unsafe_connections(settings)]
    for name, gateway in settings.gateways.items():
        place, plain = f"gateways.{name}", gateway.settings.plaintext_host
        if plain and not is_local(plain):
            host = canonical_host(plain)
            lines.append((place, host, "without encryption"))
            if host not in allowed:
                sentence = (
                    f"{gateway.kind} encrypts nothing by itself: numbers and codes can be read on the way to {host}."
                )
                action = (
                    "Set tls = true where the other end offers it; else use a private line or a VPN, and name the host "
                    "in plaintext_hosts."
                )
                yield Diagnosis(WARN, place, sentence, action)
    for place, host, how in lines:
        if host in allowed:
            action = (
                "Make sure that the network in between is private, or use TLS with a verified certificate and take the "
                "host out of the list."
            )
            yield Diagnosis(WARN, place, f"{host} is reached {how}, which plaintext_hosts allows.", action)
    used = {host for _, host, _ in lines}
    for host in allowed:
        if host not in used:
            sentence = f"Nothing is reached at {host} without encryption."
            yield Diagnosis(WARN, "plaintext_hosts", sentence, "Take it out of the list, before something is.")


def protection_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield protection against abuse and loss that a production may be configured without."""
    for place, secret in provider_secrets(settings):
        if len(secret) < MIN_PASSWORD_LENGTH and not is_sample(secret):
            sentence = f"It has fewer than {MIN_PASSWORD_LENGTH} characters: it can be guessed."
            yield Diagnosis(WARN, place, sentence, "Ask the provider for a longer password, if its system takes any.")
    modes = {rule.id: settings.guard.mode(rule.id) for rule in GUARD_RULES.values() if rule.mode is Mode.ENFORCE}
    if idle := [f"{rule} ({mode})" for rule, mode in modes.items() if mode is not Mode.ENFORCE]:
        action = "Look at what they would refuse, then enforce them: otp-service guard status"
        yield Diagnosis(WARN, "guard.modes", f"These rules refuse nothing: {', '.join(idle)}.", action)
    if settings.ledger.rebuild_lost_mirror:
        sentence = (
            "An empty Redis is filled from the ledger without asking: a ledger that was restored too is not noticed."
        )
        action = "Take it out; after a loss of Redis: otp-service ledger rebuild."
        yield Diagnosis(WARN, "ledger.rebuild_lost_mirror", sentence, action)
    if not settings.audit.export:
        sentence = "Heads of the audit chain are not exported: a database administrator can cut its end off unnoticed."
        action = "Export them to a place that administrators of the database cannot change, such as syslog://HOST:PORT."
        yield Diagnosis(WARN, "audit.export", sentence, action)
    for name, rules in settings.rulesets.items():
        yield from ceiling_diagnoses(name, rules)


def safety_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield the settings that refuse a start, and those that are allowed although they are not safe."""
    yield from map(refusal_diagnosis, start_refusals(settings))
    if not settings.production:
        for line in unsafe_connections(settings):
            if line.host not in settings.plaintext_hosts:
                yield refusal_diagnosis(line.refusal, WARN)
    yield from key_diagnoses(settings)
    yield from plaintext_diagnoses(settings)
    redis = settings.redis.url.get_secret_value()
    if leads_elsewhere(redis) and not urlsplit(redis).password:
        action = "Give the service a user of its own (ACL), with the commands that it needs only."
        yield Diagnosis(WARN, "redis.url", "Redis is on another host and asks for no password.", action)
    if settings.production:
        yield from protection_diagnoses(settings)


_RENEW = "Renew it where it was registered, and correct valid_until."


def registration_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield the senders and approvals that have ended, or end within a month."""
    registrations, day = settings.sending_rules.registrations, today()
    ending = [entry for entry in registrations if entry.expires_soon(day)]
    for entry in ending:
        place = f"{'approvals' if isinstance(entry, Approval) else 'senders'}.{entry.name}"
        last, country = entry.valid_until, entry.country
        if entry.has_expired(day):
            yield Diagnosis(FAIL, place, f"It ended on {last}: no message to {country} goes out by it.", _RENEW)
        else:
            sentence = f"{last} is its last day; then no message to {country} goes out by it."
            yield Diagnosis(WARN, place, sentence, _RENEW)
    if registrations and not ending:
        yield Diagnosis(OK, "registrations", "No sender and no approval ends within a month.")


# --- Redis ----------------------------------------------------------------------------------------------------

OLDEST = {"Redis": (7, 2), "Valkey": (8, 0)}
_NEWER = "Use Redis 7.2 or Valkey 8, or newer."
LISTPACK = "hash-max-listpack-value"
LONGEST_VALUE = 128
"""Maximum bytes of a record's value; above the server's limit, the record takes three times the memory."""
TOLERATED_SKEW = 1.0
"""Seconds between this host's clock and Redis' above which this host shows wrong times."""

_CONNECTION_ADVICE = {
    ConnectionProblem.SILENT: ("does not answer", "Start it, or correct redis.url."),
    ConnectionProblem.UNNAMED: (
        "is named by no Sentinel",
        "Correct redis.sentinels, the name in redis.url, users, passwords and TLS; or wait until a replica took over.",
    ),
    ConnectionProblem.USER: ("refuses the user or the password", "Correct them in redis.url."),
    ConnectionProblem.RIGHTS: ("refuses a command to this user", "Give the user the rights that are missing (ACL)."),
    ConnectionProblem.MEMORY: ("is full", "Give it more memory (maxmemory)."),
    ConnectionProblem.REPLICA: ("is a replica and takes no writes", "Name its primary in redis.url."),
    ConnectionProblem.REPLICAS: (
        "has fewer replicas than it demands, and takes no writes",
        "Start replicas, or set its min-replicas-to-write lower.",
    ),
    ConnectionProblem.DISK: (
        "cannot write to its disk, and takes no writes",
        "See its log and INFO persistence: mostly the disk is full, or its folder is not its own.",
    ),
    ConnectionProblem.DATABASE: ("has no database of this number", "Correct the number at the end of redis.url."),
    ConnectionProblem.MEMBER: (
        "is in cluster mode, but does not tell its slots to this user",
        "Allow the user HELLO and CLUSTER SLOTS.",
    ),
    ConnectionProblem.NOT_REDIS: ("does not answer as Redis does", "Correct redis.url: another server listens there."),
}


def redis_diagnosis(settings: Settings, silent: StoreUnavailableError) -> Diagnosis:
    """Return why Redis does not answer, and what to do."""
    redis = f"Redis at {settings.redis.shown_url}"
    if (refused := certificate_error(silent)) is not None:
        return Diagnosis(FAIL, "redis.url", *certificate_problem(refused, redis))
    problem = connection_problem(silent)
    fault, action = _CONNECTION_ADVICE[problem]
    if denied := re.search(r"the '([\w|]+)' command", str(silent.__cause__)):
        fault, action = f"refuses {denied[1]} to this user", "Give the user the rights of docs/install.md (ACL)."
    if problem is ConnectionProblem.SILENT and _dev_is_stopped():
        fault, action = "does not answer: the service of make run in this folder is not running", "Start it: make run"
    return Diagnosis(FAIL, "redis.url", f"{redis} {fault}.", action)


def _dev_is_stopped() -> bool:
    """Return whether the settings are those of ``dev`` in this folder, and no process holds its lock."""
    folder = Path(".otp-service").resolve()
    if Path(os.environ.get(CONFIG_VARIABLE, "")).resolve().parent != folder:
        return False
    try:
        with (folder / "lock").open(encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def version_diagnosis(version: str) -> Diagnosis:
    """Return whether ``Redis 7.2.4`` or ``Valkey 8.1.0`` is supported."""
    name, _, number = version.partition(" ")
    match = re.match(r"(\d+)\.(\d+)", number)
    if not match or name not in OLDEST:
        return Diagnosis(WARN, "server", f"{version} is not known.", _NEWER)
    if (int(match[1]), int(match[2])) < OLDEST[name]:
        return Diagnosis(FAIL, "server", f"{version} is too old.", _NEWER)
    return Diagnosis(OK, "server", f"{version} answers.")


_EXPECTED = {
    "maxmemory": "it must be less than its host's memory",
    "maxmemory-policy": "it must be noeviction",
    "appendonly": "it should be yes",
    LISTPACK: f"it should be {LONGEST_VALUE} or more",
}
_FSYNC = "appendfsync"
_EVERY_SECOND = "Set appendfsync everysec."
_FSYNC_EFFECTS = {
    "always": (OK, "All accepted messages survive a crash.", ""),
    "everysec": (OK, "A crash loses messages and counts of the last second, at most two.", ""),
    "no": (WARN, "A crash loses all that the operating system had not written yet, often 30 s.", _EVERY_SECOND),
}


def server_diagnoses(values: Mapping[str, str | None]) -> Iterator[Diagnosis]:
    """Yield the effects of a server's settings on codes and budgets; a hidden setting is ``None``."""
    for name, advice in _EXPECTED.items():
        if values[name] is None:
            yield Diagnosis(WARN, name, f"The server hides it; {advice}.", "Look at your provider's settings.")
    if (policy := values["maxmemory-policy"]) == NO_EVICTION:
        yield Diagnosis(OK, "maxmemory-policy", "noeviction: no counter is ever evicted.")
    elif policy:
        yield refusal_diagnosis(eviction_refusal(policy))
    if values["maxmemory"] == "0":
        sentence = "Redis has no limit of its own: when the memory of its host is used up, the kernel kills it."
        action = "Set maxmemory to half of the host's memory: rewriting the append-only file takes the rest."
        yield Diagnosis(WARN, "maxmemory", sentence, action)
    yield from _persistence_diagnoses(values)
    if (length := values[LISTPACK]) and int(length) < LONGEST_VALUE:
        sentence = f"With {length} a record takes about three times the memory."
        yield Diagnosis(WARN, LISTPACK, sentence, f"Set {LISTPACK} 1024.")
    elif length:
        yield Diagnosis(OK, LISTPACK, f"{length}: records stay small.")


def _persistence_diagnoses(values: Mapping[str, str | None]) -> Iterator[Diagnosis]:
    appends, fsync = values["appendonly"], values[_FSYNC]
    if appends == "yes":
        unknown = (WARN, f"appendfsync {fsync} is not known.", _EVERY_SECOND)
        level, sentence, action = _FSYNC_EFFECTS.get(fsync or "", unknown)
        yield Diagnosis(level, _FSYNC, sentence, action)
    elif appends:
        sentence = "Without an append-only file a restart loses accepted messages and forgets every budget."
        yield Diagnosis(WARN, "appendonly", sentence, "Set appendonly yes.")


def replication_diagnoses(online: int, known: int, awaited: int, *, replaceable: bool) -> Iterator[Diagnosis]:
    """Yield the effects of a fail-over on codes.

    ``known``: replicas that Sentinels or the cluster know, online or not; 0 without either. ``awaited``: replicas that
    must have an approval before it is answered. ``replaceable``: whether Sentinels or a cluster promote a replica.
    """
    # After the server's death, too few are left to prove that the successor has every answered call.
    loses_codes = 0 < awaited <= online and known - awaited > online - 1
    if online < awaited:
        sentence = f"{online} of {awaited} awaited replicas are online: starts and checks get 503."
        yield Diagnosis(FAIL, "replicas", sentence, "Start replicas, or set redis.replicas lower.")
    if 0 < awaited == online:
        sentence = f"All {online} replicas are awaited: when one fails, starts and checks get 503."
        yield Diagnosis(WARN, "replicas", sentence, "Add a replica.")
    if replaceable and not awaited:
        sentence = "No replica is awaited: a fail-over forgets approvals and wrong codes, and ends all pending codes."
        yield Diagnosis(WARN, "replicas", sentence, "Set redis.replicas to 1 or more.")
    if replaceable and awaited > 0 and online > known:
        yield Diagnosis(
            WARN,
            "replicas",
            f"{online} replicas are online, but Sentinels or the cluster know {known}: an unknown replica may be the "
            "only server with an approval.",
            "Announce all replicas (replica-announced yes); no other tool may follow the server as a replica.",
        )
    if loses_codes:
        yield Diagnosis(
            WARN,
            "replicas",
            f"{online} of {known} replicas are online: when the server fails too, all pending codes end.",
            "Start the others, or let Sentinels (SENTINEL RESET) or the cluster (CLUSTER FORGET) forget those that are "
            "removed.",
        )
    elif 0 < awaited < online:
        yield Diagnosis(OK, "replicas", f"{awaited} of {online} replicas have an approval before it is answered.")


_MIGRATES = re.compile(r"Valkey (9|\d\d+)\.")
_COVERAGE = "cluster-require-full-coverage"


def cluster_diagnoses(
    versions: Sequence[str], coverage: Sequence[str | None], unserved: int, buckets: int
) -> Iterator[Diagnosis]:
    """Yield the faults of a cluster: of its servers with slots, and of ``unserved`` slots."""
    is_spread = len(versions) > 1
    for version in dict.fromkeys(versions):
        if is_spread and version and not _MIGRATES.match(version):
            sentence = f"{version} moves slots key by key: keys not yet moved look absent."
            action = "Use Valkey 9 or later in a cluster, and move slots by CLUSTER MIGRATESLOTS."
            yield Diagnosis(FAIL, "server", sentence, action)
    if unserved:
        sentence = f"No server has {unserved} of the 16384 slots: calls for their keys get 503."
        action = "Look at CLUSTER SHARDS: start servers again, or let replicas take over."
        yield Diagnosis(FAIL, "cluster", sentence, action)
    if is_spread and "yes" in coverage:
        action = f"Set {_COVERAGE} no on each server."
        yield Diagnosis(WARN, _COVERAGE, "While one shard is away all servers refuse.", action)
    elif is_spread and set(coverage) == {"no"}:
        yield Diagnosis(OK, _COVERAGE, "While one shard is away the others serve.")
    if is_spread and buckets == 1:
        action = "Set keys.buckets = 16 before the first start: it never changes."
        yield Diagnosis(WARN, "keys.buckets", "All numbers are in one slot, so at one server.", action)


def clock_diagnosis(skew: float) -> Diagnosis:
    """Return whether this host's clock, ``skew`` seconds ahead of the server's, is right."""
    if abs(skew) <= TOLERATED_SKEW:
        return Diagnosis(OK, "clock", "This host's clock agrees with the server's.")
    difference = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'}"
    return Diagnosis(
        WARN,
        "clock",
        f"This host's clock is {difference} the server's. The service counts by the server's only, but 'limits show' "
        "and the times of log lines are off.",
        "Synchronise both hosts (NTP).",
    )


FILES_NEEDED: Final = 1024
"""Files and connections that `serve` may hold at a time: 512 of callers, and its own. A worker needs fewer."""


def file_diagnoses() -> Iterator[Diagnosis]:
    """Yield a diagnosis if a process may not open enough files and connections."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < FILES_NEEDED and limit != resource.RLIM_INFINITY:
        sentence = f"A process of this user may open {limit} files and connections: {FILES_NEEDED} are needed."
        yield Diagnosis(
            WARN, "files", sentence, "Raise the limit: LimitNOFILE=65536 (systemd), ulimit -n 65536 (a shell)."
        )


def worker_diagnosis(age: int | None) -> Diagnosis:
    """Return whether workers run; ``age`` is the time since a worker was seen, in seconds."""
    if age is None:
        return Diagnosis(WARN, "worker", "No worker was seen recently: nothing is delivered.", "otp-service worker")
    return Diagnosis(OK, "worker", f"A worker was seen {age} s ago.")


# --- the ledger -----------------------------------------------------------------------------------------------

_MAX_UNRECORDED = 10_000


def up_to_date(changes: int) -> str:
    return f"Redis mirrors all of it (consents and suppressions: {count_of(changes, 'change')})."


_MIRROR_FAULTS = {
    MirrorState.LOST: (
        f"{MISMATCHES[MirrorState.LOST]} Nothing is sent.",
        "Where no older copy of the ledger was restored: otp-service store fence, then otp-service ledger rebuild.",
    ),
    MirrorState.RESTORED: (
        f"{MISMATCHES[MirrorState.RESTORED]} Nothing is sent.",
        "Make sure that the ledger is the latest, or import later opt-outs; then: otp-service ledger rebuild.",
    ),
    MirrorState.FOREIGN: (
        MISMATCHES[MirrorState.FOREIGN],
        "Correct ledger.url, or go by this ledger from now on: otp-service ledger rebuild.",
    ),
    MirrorState.DIVERGED: (
        f"{MISMATCHES[MirrorState.DIVERGED]} Nothing is sent.",
        "Restore a newer copy or import the opt-outs that are missing, and then: otp-service ledger rebuild.",
    ),
}


def mirror_diagnosis(context: Context) -> Diagnosis:
    """Return whether the mirror in Redis is up to date; raises `LedgerUnavailableError`."""
    mirror = context.mirror_sync.inspect()
    if mirror.state in _MIRROR_FAULTS:
        return Diagnosis(FAIL, "ledger", *_MIRROR_FAULTS[mirror.state])
    if mirror.state is MirrorState.ABSENT:
        action = "A process mirrors it when it starts; if this message stays: otp-service ledger rebuild."
        return Diagnosis(WARN, "ledger", "Redis does not mirror this ledger yet: starts are refused.", action)
    if mirror.state is MirrorState.BEHIND:
        return Diagnosis(WARN, "ledger", f"Redis is {count_of(mirror.lag, 'change')} behind.", "Look again.")
    return Diagnosis(OK, "ledger", f"The ledger answers, and {up_to_date(mirror.changes)}")


def _factor_diagnoses(context: Context) -> Iterator[Diagnosis]:
    active, *others = context.keyring.root_ids
    sealed = context.ledger.factors.root_keys()
    for root in others:
        if root in sealed:
            sentence = f"{sealed[root]} authenticator apps are sealed under the root key {root}."
            action = f"Before you remove it, seal them under {active}: otp-service factor reseal"
            yield Diagnosis(OK, "keys", sentence, action)
    repair = "Set the clock right, and then: otp-service factor reset-steps"
    if count := count_ahead(context):
        sentence = f"At least {count} authenticator apps refuse codes: the last accepted code is ahead of Redis' clock."
        yield Diagnosis(WARN, "factors", sentence, repair)
    if checks_wait(context):
        sentence = "Checks of authenticator apps wait: Redis' clock was ahead when it was started."
        yield Diagnosis(WARN, "factors", sentence, repair)


def database_diagnoses(settings: Settings, context: Context) -> Iterator[Diagnosis]:
    """Yield the faults of the ledger's database, whatever it contains."""
    database = context.ledger.database
    if "sqlite:" in settings.ledger.shown_url and leads_elsewhere(settings.redis.url.get_secret_value()):
        yield Diagnosis(
            WARN,
            "ledger.url",
            "The ledger is a file of this host, and Redis is on another: processes on other hosts have another ledger.",
            "Use postgresql:// unless all processes run on this host.",
        )
    if database.lacks_space():
        sentence = f"The disk of the ledger's file has less than {MIN_FREE_MIB} MiB left: soon nothing is recorded."
        yield Diagnosis(FAIL, "ledger.url", sentence, "Free space on that disk.")
    if settings.production and database.is_superuser():
        yield Diagnosis(
            WARN,
            "ledger.url",
            "The database's role is a superuser: an attacker in a process controls the database server, and its host.",
            "Use a role that owns the ledger's database and nothing else (CREATE ROLE ... LOGIN, ALTER DATABASE ... "
            "OWNER TO).",
        )
    if database.lacks_locks():
        sentence = (
            "PostgreSQL has too few locks for the ledger's partitions: some concurrent searches for numbers fail."
        )
        yield Diagnosis(WARN, "ledger.url", sentence, "Set max_locks_per_transaction = 512, and restart PostgreSQL.")


_ABSENT = Diagnosis(
    WARN,
    "ledger",
    "The ledger is not created yet: nothing is recorded, and starts are refused.",
    "Start serve or worker, which create it; or: otp-service ledger upgrade",
)
_ABSENT_FOR_GOOD = Diagnosis(
    FAIL,
    "ledger",
    "The ledger is not created yet, and ledger.upgrade = false lets no process create it.",
    "otp-service ledger upgrade",
)


def ledger_diagnoses(settings: Settings, context: Context) -> Iterator[Diagnosis]:
    """Yield diagnoses of the ledger and its mirror; write nothing, and make no file."""
    try:
        yield from database_diagnoses(settings, context)
        if not context.ledger.database.exists():
            yield _ABSENT if settings.ledger.upgrade else _ABSENT_FOR_GOOD
        elif not context.ledger.is_made():
            yield refusal_diagnosis(LEDGER_NOT_MADE, WARN if settings.ledger.upgrade else FAIL)
        else:
            if needed := root_key_refusal(context):
                yield refusal_diagnosis(needed)
            yield from _factor_diagnoses(context)
            yield from mirror_diagnoses(context)
    except LedgerMismatchError:
        yield refusal_diagnosis(LEDGER_OF_OTHER_KEY)
    except LedgerFormatError as other:
        yield refusal_diagnosis(ledger_of_other_format(other))
    except LedgerUnavailableError as away:
        yield ledger_diagnosis(settings, away)


def ledger_diagnosis(settings: Settings, away: LedgerUnavailableError) -> Diagnosis:
    """Return why the database is not available, and what to do."""
    sentence = f"{settings.ledger.shown_url}: {away}"
    if str(away) in REMEDIED:
        return Diagnosis(FAIL, "ledger.url", sentence)
    is_file = "sqlite:" in settings.ledger.shown_url
    look = "look at its rights and disk. Only a damaged file is restored from a copy."
    return Diagnosis(FAIL, "ledger.url", sentence, f"Correct ledger.url, or {look if is_file else 'start it.'}")


def mirror_diagnoses(context: Context) -> Iterator[Diagnosis]:
    """Yield the lag of the mirror in Redis, and of the recorder; raises `LedgerUnavailableError`."""
    yield mirror_diagnosis(context)
    waiting = context.store.events.unrecorded()
    if waiting < _MAX_UNRECORDED:
        yield Diagnosis(OK, "ledger", f"Events not recorded yet: {waiting}.")
    else:
        action = "Start more workers, or a faster database."
        yield Diagnosis(WARN, "ledger", f"{waiting} events are not recorded yet.", action)


def warn_of_mirror(context: Context) -> None:
    """Warn if a new record is not in force, because Redis mirrors another ledger or state."""
    diagnosis = mirror_diagnosis(context)
    if diagnosis.level is FAIL:
        out.warn(f"{diagnosis.sentence} {diagnosis.action}")


_DISABLED = {EndpointStatus.GONE: "it answered 410", EndpointStatus.FAILING: "it failed for five days"}


def endpoint_diagnoses(context: Context, now: int) -> Iterator[Diagnosis]:
    """Yield the faults of webhooks; none if the ledger does not answer, which `ledger_diagnoses` reports."""
    try:
        endpoints = context.ledger.endpoints.of() if context.ledger.database.exists() else ()
    except LedgerUnavailableError:
        return
    yield from _seal_diagnoses(context.keyring.root_ids, root_keys_in_use(endpoints, now))
    for endpoint in endpoints:
        subject = f"The endpoint {endpoint.id} of {endpoint.application}"
        if endpoint.status in _DISABLED:
            action = f"Inform its owner; then otp-service webhook enable {endpoint.id}, and replay."
            yield Diagnosis(WARN, "webhooks", f"{subject} is disabled: {_DISABLED[endpoint.status]}.", action)
        if endpoint.is_slow:
            sentence = f"{subject} answers after {endpoint.seconds} s: it has half as many calls at once."
            yield Diagnosis(WARN, "webhooks", sentence, "Ask its owner to answer before the work begins.")


def _seal_diagnoses(roots: Sequence[str], in_use: Mapping[str, int]) -> Iterator[Diagnosis]:
    """Yield the inactive root keys, known or unknown, that secrets of endpoints are sealed under."""
    for root, count in in_use.items():
        sealed = count_of(count, "endpoint")
        if root not in roots:
            sentence = f"The root key {root} is missing: webhooks of {sealed} cannot be signed, and wait."
            action = "Add it behind the others, then otp-service webhook reseal; or rotate the endpoints."
            yield Diagnosis(FAIL, "webhooks", sentence, action)
        elif root != roots[0]:
            sentence = f"The root key {root} is still needed: secrets of {sealed} are sealed under it."
            yield Diagnosis(WARN, "webhooks", sentence, "otp-service webhook reseal")


def access_diagnoses(settings: Settings, context: Context, now: int) -> Iterator[Diagnosis]:
    """Yield the applications that could not call at ``now``, and faults of those in the ledger.

    It yields nothing if the ledger does not answer, which `ledger_diagnoses` reports.
    """
    access_cache = context.access_cache
    try:
        access_cache.refresh()
    except LedgerUnavailableError:
        return
    access = access_cache.snapshot
    if not access.applications:
        yield Diagnosis(WARN, "applications", "No application exists.", "otp-service application add NAME FILE")
    calling = {key.application for key in access.keys.values() if key.is_valid(now)}
    for name, application in access.applications.items():
        if name not in calling:
            yield Diagnosis(WARN, f"applications.{name}", "It has no API key.", f"otp-service key add {name}")
        if not access_cache.is_configured(name):
            yield from application_diagnoses(name, application, settings)
            if settings.production:
                yield from ceiling_diagnoses(name, access.rulesets[name].ruleset)


# --- deliveries -----------------------------------------------------------------------------------------------

HOUR = 3_600_000
MAX_DEAD_LETTERS = 1000
"""Dead letters read from each bucket."""
TOLERATED_LAG = 30.0
"""Seconds that a message may wait before people notice."""
NUMBER_FAULTS = frozenset({"destination", "channel", "policy"})
"""Reasons that lie in the number, not in the installation."""


def gateway_diagnoses(name: str, health: GatewayHealth) -> Iterator[Diagnosis]:
    """Yield why a gateway gets no messages, if so."""
    place, resume = f"gateways.{name}", f"otp-service gateway resume {name}"
    if health.refusal:
        ago = duration(health.refused // 1000)
        sentence = f"It refuses our account, for the last time {ago} ago: {health.refusal}."
        action = f"Correct its key, credit, sender or address with its provider; then {resume}."
        yield Diagnosis(FAIL, place, sentence, action)
    if health.state is not BreakerState.CLOSED:
        state = gateway_state(health)
        left = f", for {out.time_left(state.left)} yet" if state.left else ""
        action = resume if health.opened_by else "See otp-service gateway status, and its provider."
        yield Diagnosis(WARN, place, f"It is {state}{left}.", action)


def _by_count(counts: Mapping[str, int], text: str) -> str:
    """Describe counts, the largest first."""
    largest = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(text.format(count=count, name=name) for name, count in largest if count)


def dead_letter_diagnosis(reasons: Mapping[str, int]) -> Diagnosis:
    """Return whether deliverable messages were given up; ``reasons`` has the counts of the last hour."""
    ours = {reason: count for reason, count in reasons.items() if reason not in NUMBER_FAULTS}
    if not ours:
        return Diagnosis(OK, "dead letters", "In the last hour no deliverable message was given up.")
    sentence = f"Messages were given up in the last hour: {_by_count(ours, '{count} {name}')}."
    action = "otp-service dead-letters list; the reasons are explained in docs/operations.md."
    return Diagnosis(WARN, "dead letters", sentence, action)


def backlog_diagnosis(lag: float, waiting: Mapping[str, int]) -> Diagnosis:
    """Return whether messages wait too long: the oldest for ``lag`` seconds, so many of each application."""
    if lag <= TOLERATED_LAG:
        return Diagnosis(OK, "backlog", "No message waits for long.")
    counts = _by_count(waiting, "{count} of {name}")
    sentence = f"The oldest message has waited for {duration(round(lag))}: {counts}."
    return Diagnosis(WARN, "backlog", sentence, "Add workers, or find the slow gateway: otp-service gateway status.")


_UNREAD_AFTER: Final = 2 * 24 * 3600
"""Seconds after which a message should have been read."""


def inbox_diagnoses(waiting: Sequence[WaitingMessage]) -> Iterator[Diagnosis]:
    """Yield a warning if a message from a person, the oldest first, is unread for too long."""
    age = (clock.now() - waiting[0].received) // 1000 if waiting else 0
    if age > _UNREAD_AFTER:
        unread = f"Unread messages from people: {len(waiting)}, the oldest since {duration(age)}."
        action = "Read them in the console, or by otp-service inbox list. They are deleted after 5 days."
        yield Diagnosis(WARN, "inbox", f"{unread} Some may ask to stop.", action)


def delivery_diagnoses(context: Context) -> Iterator[Diagnosis]:
    """Yield the faults of messages and gateways in the store. Nothing is written."""
    store = context.store
    for name, health in store.health.of(tuple(context.gateways)).items():
        yield from gateway_diagnoses(name, health)
    yield dead_letter_diagnosis(count_reasons(store.dead_letters.since(HOUR, MAX_DEAD_LETTERS)))
    yield backlog_diagnosis(store.outbox.lag(), store.history.waiting_messages())
    yield from inbox_diagnoses(store.inbox.waiting())


_COLOURS: Final = {OK: "green", WARN: "yellow", FAIL: "red"}
_SERVERS_NOT_CHECKED = Diagnosis(
    WARN,
    "server",
    "Redis and the ledger were not checked: nothing connects to them while the settings refuse to start.",
    "Correct the settings that failed, and run the command again.",
)


def network_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield whether this host reaches gateways, and this service at its public URL. No message is sent."""
    yield from reach_gateways(settings)
    if url := settings.http.public_url:
        yield reach_public_url(settings, url)


@command()
@click.option("--network", is_flag=True, help="Connect to gateways and to http.public_url, too. Sends no message.")
def doctor(session: Session, *, network: bool) -> None:
    """Check the installation.

    Checks settings, keys, gateways, Redis and the ledger. The exit status is 1 if a check failed.
    """
    diagnoses = list(_examine(session, network=network))
    if not out.in_json(findings=list(map(out.members, diagnoses))):
        for diagnosis in diagnoses:
            level = click.style(diagnosis.level, fg=_COLOURS[diagnosis.level], bold=out.is_terminal())
            name = f" [{diagnosis.name}]" if diagnosis.name else ""
            text = f"{diagnosis.level:<4}  {diagnosis.subject}: {diagnosis.sentence}{name}"
            click.echo(out.wrap(text, indent=6).replace(diagnosis.level, level, 1))
            if diagnosis.action:
                click.echo(out.wrap(f"      → {diagnosis.action}", indent=8))
    if any(diagnosis.level is FAIL for diagnosis in diagnoses):
        if unread := out.unread_environment():
            out.note(unread)
        raise SystemExit(1)


def _examine(session: Session, *, network: bool) -> Iterator[Diagnosis]:
    try:
        settings = session.unchecked_settings
    except ConfigurationError as faulty:
        for line in str(faulty).splitlines():
            subject, _, sentence = line.partition(": ")
            yield Diagnosis(FAIL, subject, sentence)
        return
    unsafe = list(safety_diagnoses(settings))
    yield from unsafe
    yield from settings_diagnoses(settings)
    yield from registration_diagnoses(settings)
    yield from file_diagnoses()
    if any(diagnosis.level is FAIL for diagnosis in unsafe):
        yield _SERVERS_NOT_CHECKED  # a password must not be sent over a connection that others can read
    else:
        yield from network_diagnoses(settings) if network else ()
        yield from _installation_diagnoses(settings)


_RIGHTS = "Give the user the rights of docs/install.md: ACL SETUSER USER +time +@scripting"
_CLAIMED = "The server belongs to this installation."
_UNCLAIMED = "The server is new; the first start claims it."


def _installation_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield the faults of Redis and the ledger. Nothing is written: a check must not claim a Redis."""
    try:
        context = install(settings).context
        server = context.store.server
        if missing := server.missing_rights():
            for right in dict.fromkeys(missing):
                sentence = f"Redis refuses {right} to the service's user: no process can start."
                yield Diagnosis(FAIL, "redis.url", sentence, _RIGHTS)
            return
        yield from _server_diagnoses(settings, context.store)
        yield clock_diagnosis(server.clock_skew())
        if refusal := server.refusal():
            yield refusal_diagnosis(refusal)
        else:
            yield Diagnosis(OK, "installation", _CLAIMED if server.claimed() else _UNCLAIMED)
        if fence := context.store.fences.current():
            sentence = f"Fenced: verifications started until {out.moment(fence)} UTC are expired."
            yield Diagnosis(OK, "fence", sentence)
        yield worker_diagnosis(server.worker_age())
        yield from ledger_diagnoses(settings, context)
        now = clock.now()
        yield from access_diagnoses(settings, context, now)
        yield from endpoint_diagnoses(context, now)
        yield from delivery_diagnoses(context)
    except StartRefusedError as unsafe:
        yield from map(refusal_diagnosis, unsafe.refusals)
    except ConfigurationError as unusable:
        yield Diagnosis(FAIL, "settings", str(unusable))
    except StoreUnavailableError as silent:
        yield redis_diagnosis(settings, silent)


def _server_diagnoses(settings: Settings, store: Store) -> Iterator[Diagnosis]:
    """Yield the faults of the server, or those of all servers of a cluster without repetition."""
    server, scripts = store.server, store.scripts
    versions = server.versions()
    values = {name: server.settings(name) for name in (*_EXPECTED, _FSYNC)}
    diagnoses = [version_diagnosis(version) for version in versions if version]
    for missing in server.missing_commands():
        level = FAIL if missing is WAIT_NEEDED else WARN
        diagnoses.append(Diagnosis(level, missing.command, missing.sentence, missing.action))
    for place in range(len(versions)):
        diagnoses += server_diagnoses({name: of_servers[place] for name, of_servers in values.items()})
    yield from dict.fromkeys(diagnoses)
    if scripts.is_cluster:
        coverage = server.settings(_COVERAGE)
        yield from cluster_diagnoses(versions, coverage, server.unserved_slots(), settings.keys.buckets)
    for online, known in sorted(set(server.replicas())):
        replaceable = bool(settings.redis.sentinels or (scripts.is_cluster and known))
        yield from replication_diagnoses(online, known, scripts.awaited_replicas, replaceable=replaceable)
    try:
        server.require_writable()
    except StoreUnavailableError as refused:
        yield redis_diagnosis(settings, refused)
