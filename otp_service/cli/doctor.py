"""otp-service doctor: checks of a running installation.

A check that refuses a start belongs in `otp_service.settings.startup_checks`; the doctor shows those too.
"""

import fcntl
import os
import re
import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from otp_service import clock
from otp_service.bootstrap import (
    LEDGER_NOT_MADE,
    LEDGER_OF_OTHER_KEY,
    install,
    ledger_of_other_format,
)
from otp_service.cli import output as out
from otp_service.cli.checks import FAIL, OK, WARN, Cases, Check, Diagnosis, diagnose, refusal_diagnosis
from otp_service.cli.common import Session, command
from otp_service.cli.network import ConnectionResult, certificate_problem, gateway_targets, public_url_results, try_all
from otp_service.cli.output import count_of
from otp_service.domain.applications import Application, ClientIpSource
from otp_service.domain.guard import GUARD_RULES, Mode, Ruleset
from otp_service.domain.phrases import duration
from otp_service.domain.routing import BreakerState, GatewayHealth
from otp_service.domain.sending_rules import Approval
from otp_service.domain.verification import MAX_CODE_LIFE, RECORD_GRACE
from otp_service.domain.webhooks import Endpoint, EndpointStatus
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
from otp_service.services.access_cache import AccessCache
from otp_service.services.context import Context
from otp_service.services.factors import checks_wait, count_ahead, root_key_refusal
from otp_service.services.mirror import MISMATCHES, MirrorState, MirrorStatus
from otp_service.services.operations import gateway_state
from otp_service.services.sender_registrations import today
from otp_service.services.webhooks import root_keys_in_use
from otp_service.settings import Settings
from otp_service.settings.loader import CONFIG_VARIABLE
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
from otp_service.store.mirror import NO_EVICTION, Server, eviction_refusal
from otp_service.store.outbox import count_reasons
from otp_service.store.store import Store

# --- the settings ---------------------------------------------------------------------------------------------

ANY_UNLISTED_COUNTRY = "ZZ"
"""Stands for any country that no route names, for an application that may send to all countries."""


@dataclass(frozen=True, slots=True)
class CheckedApplication:
    """An application of the configuration or the ledger, with all settings."""

    name: str
    application: Application
    settings: Settings

    def gaps(self) -> Iterator[Mapping[str, object]]:
        """Yield the countries that no gateway reaches by a channel of a purpose, and whether it is the first one."""
        countries = sorted(self.application.countries or {ANY_UNLISTED_COUNTRY})
        for purpose in sorted(self.application.purposes):
            channels = self.settings.named_purposes[purpose].channels
            for channel in channels:
                missing = [c for c in countries if not self.settings.routing.gateways_for(c, purpose, channel)]
                if missing:
                    shown = "some countries" if missing == [ANY_UNLISTED_COUNTRY] else ", ".join(missing)
                    yield {
                        "channel": channel,
                        "first": channel is channels[0],
                        "purpose": purpose,
                        "countries": shown,
                    }


def _checked_applications(settings: Settings) -> Iterator[CheckedApplication]:
    return (CheckedApplication(name, member, settings) for name, member in settings.named_applications.items())


_GAP = "No gateway carries {channel} for {purpose} to {countries}."
_CLOSE_GAP = "Add a route or a gateway, or take the channel out of the purpose."

APPLICATION: tuple[Check[CheckedApplication], ...] = (
    Check("applications.{it.name}", WARN,
          "It has no home: all its countries count as abroad, where little passes, and may be closed altogether.",
          "Set home to the country that most of its traffic goes to.",
          lambda it: it.application.home is None),
    Check("applications.{it.name}", WARN,
          'With client_ip = "connection" and no trusted proxy, all callers behind a proxy count as one address.',
          "Set http.trusted_proxies to the number of proxies before the service.",
          lambda it: it.application.client_ip is ClientIpSource.CONNECTION
          and it.settings.production and not it.settings.http.trusted_proxies),
    Check("applications.{it.name}", FAIL, _GAP, _CLOSE_GAP, lambda it: (gap for gap in it.gaps() if gap["first"])),
    Check("applications.{it.name}", WARN, _GAP, _CLOSE_GAP, lambda it: (gap for gap in it.gaps() if not gap["first"])),
)  # fmt: skip
CEILINGS: tuple[Check[Mapping[str, Ruleset]], ...] = (
    Check("applications.{name}.spend", WARN, "Nothing limits its spending.", 'Set a ceiling such as day = "4000".',
          lambda rulesets: ({"name": name} for name, rules in rulesets.items()
                            if not rules.ceilings and not any(rules.ceilings_of_countries.values()))),
)  # fmt: skip


def _unused_gateways(settings: Settings) -> Iterator[Mapping[str, object]]:
    """Yield the gateways that a route names in vain."""
    offered = {channel for purpose in settings.named_purposes.values() for channel in purpose.channels}
    for position, route in enumerate(settings.routes):
        channels = set(route.channels) or offered
        for name in route.gateways:
            if not channels & settings.routing.channels_of[name]:
                yield {"position": position, "gateway": name, "channels": ", ".join(sorted(channels))}


def _unreported(settings: Settings) -> Iterator[Mapping[str, object]]:
    """Yield the gateways that could report receipts, and have no address for it."""
    for name, gateway in {} if settings.http.public_url else settings.gateways.items():
        reports = issubclass(gateway.plugin_class, REPORTS_OVER_HTTP) and gateway.settings.takes_receipts
        if reports and not gateway.plugin_class.development_only:
            yield {"name": name}


SETTINGS: tuple[Check[Settings], ...] = (
    Check("profile", OK, "{it.profile} is in force.", "", lambda settings: bool(settings.profile)),
    Check("purposes.{name}", WARN,
          "No message is ever sent again: the wait for it is {delay} s, and the code lives {ttl} s.",
          "Shorten resend_delays, lengthen ttl, or set max_sends to 1.",
          lambda settings: ({"name": name, "delay": purpose.resend_delays[0], "ttl": purpose.ttl}
                            for name, purpose in settings.purposes.items()
                            if purpose.max_sends > 1 and purpose.ttl <= purpose.resend_delays[0])),
    Check("purposes.{name}", WARN,
          'A code lives {ttl} s: messages say "less than a minute", and many arrive later.',
          "Set ttl to 60 or more.",
          lambda settings: ({"name": name, "ttl": purpose.ttl} for name, purpose in settings.purposes.items()
                            if purpose.ttl < 60)),  # noqa: PLR2004 - a minute
    Check("gateways.{name}", OK, "The settings of this {kind} gateway are complete.", "",
          lambda settings: ({"name": name, "kind": gateway.kind} for name, gateway in settings.gateways.items())),
    Check("gateways.{name}", WARN, "It could report delivery, but does not know the address of this service.",
          "Set http.public_url.", _unreported),
    Check("policies.{name}", OK, "The settings of this {kind} policy are complete.", "",
          lambda settings: ({"name": name, "kind": policy.kind} for name, policy in settings.policies.items())),
    Check("routes.{position}", WARN, "The gateway {gateway} is never used: it carries none of {channels}.",
          "Take it out of the route, or correct the route's channels.", _unused_gateways),
    Check("routes", OK, "Every application reaches every country of its list.", "",
          lambda settings: bool(settings.applications) and
          not any(any(application.gaps()) for application in _checked_applications(settings))),
    Check("http.public_url", WARN, "Receipts come in without encryption.", "Use the https:// address.",
          lambda settings: settings.production and (settings.http.public_url or "").startswith("http://")),
    Check("webhooks.networks", WARN,
          "Webhooks may go to {networks}: a key of the scope webhooks can call any service in them.",
          "Take out the networks without a receiver.",
          lambda settings: [{"networks": ", ".join(settings.webhooks.networks)}]
          if settings.production and settings.webhooks.networks else ()),
    Check("http.metrics_on_same_port", WARN, "Every caller of the service can read its metrics.",
          "Set it to false and use http.metrics_port.",
          lambda settings: settings.production and settings.http.metrics_on_same_port),
)  # fmt: skip


def settings_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield what shows from the settings alone."""
    for application in _checked_applications(settings):
        yield from diagnose(APPLICATION, application)
    yield from diagnose(SETTINGS, settings)
    for extension in load_extensions():
        yield from diagnose(extension.checks, settings)


_KEYS = {RefusalName.KEY_MISSING, RefusalName.KEY_INVALID, RefusalName.SAMPLE_KEY, RefusalName.KEY_USED_TWICE}


def _keys(settings: Settings) -> Iterator[Mapping[str, object]]:
    """Yield the active root key, the others, and when these may be removed."""
    if not any(reason.name in _KEYS for reason in start_refusals(settings)):
        active, *others = settings.keyring().root_ids
        delay = max((purpose.ttl for purpose in settings.purposes.values()), default=MAX_CODE_LIFE) + RECORD_GRACE
        yield {"active": active, "others": ", ".join(others), "delay": duration(delay)}


def _plain_protocols(settings: Settings) -> dict[str, str]:
    """Return the other hosts that a gateway's own protocol reaches without encryption, by the gateways' names."""
    hosts = {name: gateway.settings.plaintext_host for name, gateway in settings.gateways.items()}
    return {name: canonical_host(host) for name, host in hosts.items() if host and not is_local(host)}


def _exceptions(settings: Settings) -> Iterator[Mapping[str, object]]:
    """Yield the hosts that may be, and are, reached without encryption."""
    lines = [(line.refusal.place, line.host, line.how) for line in unsafe_connections(settings)]
    lines += [(f"gateways.{name}", host, "without encryption") for name, host in _plain_protocols(settings).items()]
    return (
        {"place": place, "host": host, "how": how} for place, host, how in lines if host in settings.plaintext_hosts
    )


def _unused_exceptions(settings: Settings) -> Iterator[Mapping[str, object]]:
    used = {line.host for line in unsafe_connections(settings)} | set(_plain_protocols(settings).values())
    return ({"host": host} for host in settings.plaintext_hosts if host not in used)


def _idle_rules(settings: Settings) -> Iterator[Mapping[str, object]]:
    """Yield the rules that enforce by default, but not with these settings."""
    modes = {rule.id: settings.guard.mode(rule.id) for rule in GUARD_RULES.values() if rule.mode is Mode.ENFORCE}
    if idle := [f"{rule} ({mode})" for rule, mode in modes.items() if mode is not Mode.ENFORCE]:
        yield {"rules": ", ".join(idle)}


_ROOT_KEY = "The pseudonym key is set. New verifications are made with the root key {active}"
SAFETY: tuple[Check[Settings], ...] = (
    Check("keys", OK, f"{_ROOT_KEY}.", "", lambda settings: (keys for keys in _keys(settings) if not keys["others"])),
    Check("keys", OK, f"{_ROOT_KEY}; those of {{others}} are still known.",
          "A retired key may be removed {delay} after the last process was reloaded with {active} in front.",
          lambda settings: (keys for keys in _keys(settings) if keys["others"])),
    Check("{place}", WARN, "{host} is reached {how}, which plaintext_hosts allows.",
          "Make sure that the network in between is private, or use TLS with a verified certificate and take the host "
          "out of the list.", _exceptions),
    Check("gateways.{name}", WARN,
          "{kind} encrypts nothing by itself: numbers and codes can be read on the way to {host}.",
          "Set tls = true where the other end offers it; else use a private line or a VPN, and name the host in "
          "plaintext_hosts.",
          lambda settings: ({"name": name, "kind": settings.gateways[name].kind, "host": host}
                            for name, host in _plain_protocols(settings).items()
                            if host not in settings.plaintext_hosts)),
    Check("plaintext_hosts", WARN, "Nothing is reached at {host} without encryption.",
          "Take it out of the list, before something is.", _unused_exceptions),
    Check("redis.url", WARN, "Redis is on another host and asks for no password.",
          "Give the service a user of its own (ACL), with the commands that it needs only.",
          lambda settings: leads_elsewhere(url := settings.redis.url.get_secret_value())
          and not urlsplit(url).password),
)  # fmt: skip
PROTECTION: tuple[Check[Settings], ...] = (
    Check("{place}", WARN, f"It has fewer than {MIN_PASSWORD_LENGTH} characters: it can be guessed.",
          "Ask the provider for a longer password, if its system takes any.",
          lambda settings: ({"place": place} for place, secret in provider_secrets(settings)
                            if len(secret) < MIN_PASSWORD_LENGTH and not is_sample(secret))),
    Check("guard.modes", WARN, "These rules refuse nothing: {rules}.",
          "Look at what they would refuse, then enforce them: otp-service guard status", _idle_rules),
    Check("ledger.rebuild_lost_mirror", WARN,
          "An empty Redis is filled from the ledger without asking: a ledger that was restored too is not noticed.",
          "Take it out; after a loss of Redis: otp-service ledger rebuild.",
          lambda settings: bool(settings.ledger.rebuild_lost_mirror)),
    Check("audit.export", WARN,
          "Heads of the audit chain are not exported: a database administrator can cut its end off unnoticed.",
          "Export them to a place that administrators of the database cannot change, such as syslog://HOST:PORT.",
          lambda settings: not settings.audit.export),
)  # fmt: skip
"""Protection against abuse and loss that a production may be configured without."""


def safety_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield the settings that refuse a start, and those that are allowed although they are not safe."""
    yield from map(refusal_diagnosis, start_refusals(settings))
    if not settings.production:
        for line in unsafe_connections(settings):
            if line.host not in settings.plaintext_hosts:
                yield refusal_diagnosis(line.refusal, WARN)
    yield from diagnose(SAFETY, settings)
    if settings.production:
        yield from diagnose(PROTECTION, settings)
        yield from diagnose(CEILINGS, settings.rulesets)


def _ending(settings: Settings, *, over: bool) -> Iterator[Mapping[str, object]]:
    for entry in settings.sending_rules.registrations:
        if entry.expires_soon(day := today()) and entry.has_expired(day) == over:
            place = f"{'approvals' if isinstance(entry, Approval) else 'senders'}.{entry.name}"
            yield {"place": place, "day": entry.valid_until, "country": entry.country}


_RENEW = "Renew it where it was registered, and correct valid_until."
REGISTRATIONS: tuple[Check[Settings], ...] = (
    Check("{place}", FAIL, "It ended on {day}: no message to {country} goes out by it.", _RENEW,
          lambda settings: _ending(settings, over=True)),
    Check("{place}", WARN, "{day} is its last day; then no message to {country} goes out by it.", _RENEW,
          lambda settings: _ending(settings, over=False)),
    Check("registrations", OK, "No sender and no approval ends within a month.", "",
          lambda settings: bool(settings.sending_rules.registrations)
          and not any(entry.expires_soon(today()) for entry in settings.sending_rules.registrations)),
)  # fmt: skip


# --- Redis ----------------------------------------------------------------------------------------------------

OLDEST = {"Redis": (7, 2), "Valkey": (8, 0)}
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


def _support(version: str) -> str:
    """Return whether ``Redis 7.2.4`` or ``Valkey 8.1.0`` is unknown, old or supported."""
    name, _, number = version.partition(" ")
    match = re.match(r"(\d+)\.(\d+)", number)
    if not match or name not in OLDEST:
        return "unknown"
    return "old" if (int(match[1]), int(match[2])) < OLDEST[name] else "supported"


_NEWER = "Use Redis 7.2 or Valkey 8, or newer."
VERSION: tuple[Check[str], ...] = (
    Check("server", WARN, "{it} is not known.", _NEWER, lambda version: _support(version) == "unknown"),
    Check("server", FAIL, "{it} is too old.", _NEWER, lambda version: _support(version) == "old"),
    Check("server", OK, "{it} answers.", "", lambda version: _support(version) == "supported"),
)

Ask = Callable[[str], str | None]
"""Returns a setting of the server; ``None`` if it is hidden."""
_FSYNC = "appendfsync"
_MAXMEMORY = "maxmemory"
_EXPECTED = {
    _MAXMEMORY: "it must be less than its host's memory",
    "maxmemory-policy": "it must be noeviction",
    "appendonly": "it should be yes",
    LISTPACK: f"it should be {LONGEST_VALUE} or more",
}


def _fsync(ask: Ask, value: str) -> bool:
    return ask("appendonly") == "yes" and ask(_FSYNC) == value


def _listpack(ask: Ask, *, enough: bool) -> Cases:
    value = ask(LISTPACK)
    return [{"value": value}] if value is not None and (int(value) >= LONGEST_VALUE) == enough else ()


SERVER: tuple[Check[Ask], ...] = (
    Check("{setting}", WARN, "The server hides it; {should}.", "Look at your provider's settings.",
          lambda ask: ({"setting": name, "should": should} for name, should in _EXPECTED.items() if ask(name) is None)),
    Check("maxmemory-policy", OK, "noeviction: no counter is ever evicted.", "",
          lambda ask: ask("maxmemory-policy") == NO_EVICTION),
    Check(_MAXMEMORY, WARN,
          "Redis has no limit of its own: when the memory of its host is used up, the kernel kills it.",
          "Set maxmemory to half of the host's memory: rewriting the append-only file takes the rest.",
          lambda ask: ask(_MAXMEMORY) == "0"),
    Check("appendonly", WARN,
          "Without an append-only file a restart loses accepted messages and forgets every budget.",
          "Set appendonly yes.", lambda ask: ask("appendonly") not in {None, "yes"}),
    Check("appendfsync", OK, "All accepted messages survive a crash.", "", lambda ask: _fsync(ask, "always")),
    Check("appendfsync", OK, "A crash loses messages and counts of the last second, at most two.", "",
          lambda ask: _fsync(ask, "everysec")),
    Check("appendfsync", WARN,
          "A crash loses all that the operating system had not written yet, often half a minute.",
          "Set appendfsync everysec.", lambda ask: _fsync(ask, "no")),
    Check("appendfsync", WARN, "appendfsync {value} is not known.", "Set appendfsync everysec.",
          lambda ask: [{"value": ask(_FSYNC)}]
          if ask("appendonly") == "yes" and ask(_FSYNC) not in {"always", "everysec", "no"} else ()),
    Check(LISTPACK, WARN, "With {value} a record takes about three times the memory.", f"Set {LISTPACK} 1024.",
          lambda ask: _listpack(ask, enough=False)),
    Check(LISTPACK, OK, "{value}: records stay small.", "", lambda ask: _listpack(ask, enough=True)),
)  # fmt: skip


def server_diagnoses(ask: Ask) -> Iterator[Diagnosis]:
    """Yield what the server's settings mean for codes and budgets."""
    values = {name: ask(name) for name in (*_EXPECTED, _FSYNC)}
    if (policy := values["maxmemory-policy"]) and policy != NO_EVICTION:
        yield refusal_diagnosis(eviction_refusal(policy))
    yield from diagnose(SERVER, lambda name: values[name])


@dataclass(frozen=True, slots=True)
class Replicas:
    """Counts of a server's replicas."""

    online: int
    known: int
    """Replicas that Sentinels or the cluster know, online or not; 0 without either."""
    awaited: int
    """Replicas that must have an approval before it is answered."""
    replaceable: bool
    """Whether Sentinels or a cluster promote a replica."""

    @property
    def loses_codes(self) -> bool:
        """Whether, after the server's death, too few are left to prove that the successor has every answered call."""
        return 0 < self.awaited <= self.online and self.known - self.awaited > self.online - 1


REPLICATION: tuple[Check[Replicas], ...] = (
    Check("replicas", FAIL, "{it.online} of {it.awaited} awaited replicas are online: starts and checks get 503.",
          "Start replicas, or set redis.replicas lower.", lambda it: it.online < it.awaited),
    Check("replicas", WARN, "All {it.online} replicas are awaited: when one fails, starts and checks get 503.",
          "Add a replica.", lambda it: 0 < it.awaited == it.online),
    Check("replicas", WARN,
          "No replica is awaited: a fail-over forgets approvals and wrong codes, and ends all pending codes.",
          "Set redis.replicas to 1 or more.", lambda it: it.replaceable and not it.awaited),
    Check("replicas", WARN,
          "{it.online} replicas are online, but Sentinels or the cluster know {it.known}: an unknown replica may be "
          "the only server with an approval.",
          "Announce all replicas (replica-announced yes); no other tool may follow the server as a replica.",
          lambda it: it.awaited > 0 and it.replaceable and it.online > it.known),
    Check("replicas", WARN,
          "{it.online} of {it.known} replicas are online: when the server fails too, all pending codes end.",
          "Start the others, or let Sentinels (SENTINEL RESET) or the cluster (CLUSTER FORGET) forget those that are "
          "removed.", lambda it: it.loses_codes),
    Check("replicas", OK, "{it.awaited} of {it.online} replicas have an approval before it is answered.", "",
          lambda it: 0 < it.awaited < it.online and not it.loses_codes),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The servers of a cluster."""

    versions: Sequence[str]
    coverage: Sequence[str | None]
    """``cluster-require-full-coverage`` of each."""
    unserved: int
    """Slots that no server has."""
    buckets: int

    @property
    def primaries(self) -> int:
        """Number of servers that have slots; a managed service calls each a shard, or a node group."""
        return len(self.versions)


_MIGRATES = re.compile(r"Valkey (9|\d\d+)\.")
CLUSTER: tuple[Check[ClusterState], ...] = (
    Check("server", FAIL, "{version} moves slots key by key: keys not yet moved look absent.",
          "Use Valkey 9 or later in a cluster, and move slots by CLUSTER MIGRATESLOTS.",
          lambda it: [{"version": name} for name in dict.fromkeys(it.versions)
                      if name and it.primaries > 1 and not _MIGRATES.match(name)]),
    Check("cluster", FAIL, "No server has {it.unserved} of the 16384 slots: calls for their keys get 503.",
          "Look at CLUSTER SHARDS: start servers again, or let replicas take over.", lambda it: it.unserved > 0),
    Check("cluster-require-full-coverage", WARN, "While one shard is away all servers refuse.",
          "Set cluster-require-full-coverage no on each server.", lambda it: it.primaries > 1 and "yes" in it.coverage),
    Check("cluster-require-full-coverage", OK, "While one shard is away the others serve.", "",
          lambda it: it.primaries > 1 and set(it.coverage) == {"no"}),
    Check("keys.buckets", WARN, "All numbers are in one slot, so at one server.",
          "Set keys.buckets = 16 before the first start: it never changes.", lambda it: it.primaries > it.buckets == 1),
)  # fmt: skip


def skew_in_words(skew: float) -> str:
    """Describe the skew of this host's clock, ``skew`` seconds ahead of the server's; "" if it is tolerated."""
    if abs(skew) <= TOLERATED_SKEW:
        return ""
    return f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'}"


CLOCK: tuple[Check[float], ...] = (
    Check("clock", OK, "This host's clock agrees with the server's.", "", lambda skew: not skew_in_words(skew)),
    Check("clock", WARN,
          "This host's clock is {skew} the server's. The service counts by the server's only, but 'limits show' and "
          "the times of log lines are off.", "Synchronise both hosts (NTP).",
          lambda skew: [{"skew": words}] if (words := skew_in_words(skew)) else ()),
)  # fmt: skip
RIGHTS: tuple[Check[str], ...] = (
    Check("redis.url", FAIL, "Redis refuses {it} to the service's user: no process can start.",
          "Give the user the rights of docs/install.md: ACL SETUSER USER +time +@scripting", lambda _: True),
)  # fmt: skip
FILES_NEEDED: Final = 1024
"""Files and connections that `serve` may hold at a time: 512 of callers, and its own. A worker needs fewer."""
FILES: tuple[Check[int], ...] = (
    Check("files", WARN, "A process started by this user may open {it} files and connections: {needed} are needed.",
          "Raise the limit: LimitNOFILE=65536 (systemd), ulimit -n 65536 (a shell).",
          lambda limit: [{"needed": FILES_NEEDED}] if limit < FILES_NEEDED else ()),
)  # fmt: skip


def file_diagnoses() -> Iterator[Diagnosis]:
    """Yield whether a process may open enough files and connections."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return diagnose(FILES, soft if soft != resource.RLIM_INFINITY else FILES_NEEDED)


CLAIM: tuple[Check[bool], ...] = (
    Check("installation", OK, "The server belongs to this installation.", "", lambda claimed: claimed),
    Check("installation", OK, "The server is new; the first start claims it.", "", lambda claimed: not claimed),
)
FENCE: tuple[Check[int | None], ...] = (
    Check("fence", OK, "Fenced: verifications started until {at} UTC are expired.", "",
          lambda fence: [{"at": out.moment(fence)}] if fence else ()),
)  # fmt: skip
WORKER: tuple[Check[int | None], ...] = (
    Check("worker", WARN, "No worker was seen recently: nothing is delivered.", "otp-service worker",
          lambda age: age is None),
    Check("worker", OK, "A worker was seen {it} s ago.", "", lambda age: age is not None),
)  # fmt: skip


# --- the ledger -----------------------------------------------------------------------------------------------

_MAX_UNRECORDED = 10_000


def up_to_date(changes: int) -> str:
    return f"Redis mirrors all of it (consents and suppressions: {count_of(changes, 'change')})."


def _mirror_is(state: MirrorState) -> Callable[[MirrorStatus], bool]:
    return lambda mirror: mirror.state is state


MIRROR: tuple[Check[MirrorStatus], ...] = (
    Check("ledger", FAIL, f"{MISMATCHES[MirrorState.LOST]} Nothing is sent.",
          "Where no older copy of the ledger was restored: otp-service store fence, then otp-service ledger rebuild.",
          _mirror_is(MirrorState.LOST)),
    Check("ledger", FAIL, f"{MISMATCHES[MirrorState.RESTORED]} Nothing is sent.",
          "Make sure that the ledger is the latest, or import the opt-outs since its copy; then: otp-service ledger "
          "rebuild.",
          _mirror_is(MirrorState.RESTORED)),
    Check("ledger", FAIL, MISMATCHES[MirrorState.FOREIGN],
          "Correct ledger.url, or go by this ledger from now on: otp-service ledger rebuild.",
          _mirror_is(MirrorState.FOREIGN)),
    Check("ledger", FAIL, f"{MISMATCHES[MirrorState.DIVERGED]} Nothing is sent.",
          "Restore a newer copy or import the opt-outs that are missing, and then: otp-service ledger rebuild.",
          _mirror_is(MirrorState.DIVERGED)),
    Check("ledger", WARN, "Redis does not mirror this ledger yet: starts are refused.",
          "A process mirrors it when it starts; if this message stays: otp-service ledger rebuild.",
          _mirror_is(MirrorState.ABSENT)),
    Check("ledger", WARN, "Redis is {changes} behind.", "Look again.",
          lambda it: [{"changes": count_of(it.lag, "change")}] if it.state is MirrorState.BEHIND else ()),
    Check("ledger", OK, "The ledger answers, and {known}", "",
          lambda it: [{"known": up_to_date(it.changes)}] if it.state is MirrorState.OK else ()),
)  # fmt: skip
RECORDER: tuple[Check[int], ...] = (
    Check("ledger", WARN, "{it} events are not recorded yet.", "Start more workers, or a faster database.",
          lambda waiting: waiting >= _MAX_UNRECORDED),
    Check("ledger", OK, "Events not recorded yet: {it}.", "", lambda waiting: waiting < _MAX_UNRECORDED),
)  # fmt: skip


def _former_seals(context: Context) -> Iterator[Mapping[str, object]]:
    active, *others = context.keyring.root_ids
    sealed = context.ledger.factors.root_keys()
    yield from ({"key": root, "count": sealed[root], "active": active} for root in others if root in sealed)


FACTORS: tuple[Check[Context], ...] = (
    Check("keys", OK, "{count} authenticator apps are sealed under the root key {key}.",
          "Before you remove it, seal them under {active}: otp-service factor reseal", _former_seals),
    Check("factors", WARN,
          "At least {count} authenticator apps refuse codes: their last accepted code is ahead of Redis' clock.",
          "Set the clock right, and then: otp-service factor reset-steps",
          lambda context: [{"count": count}] if (count := count_ahead(context)) else ()),
    Check("factors", WARN, "Checks of authenticator apps wait: Redis' clock was ahead when it was started.",
          "Set the clock right, and then: otp-service factor reset-steps", checks_wait),
)  # fmt: skip
LEDGER: tuple[Check[tuple[Settings, Context]], ...] = (
    Check("ledger.url", WARN,
          "The ledger is a file of this host, and Redis is on another: processes on other hosts have another ledger.",
          "Use postgresql:// unless all processes run on this host.",
          lambda it: "sqlite:" in it[0].ledger.shown_url
          and leads_elsewhere(it[0].redis.url.get_secret_value())),
    Check("ledger.url", FAIL,
          f"The disk of the ledger's file has less than {MIN_FREE_MIB} MiB left: soon nothing is recorded.",
          "Free space on that disk.", lambda it: it[1].ledger.database.lacks_space()),
    Check("ledger.url", WARN,
          "The database's role is a superuser: an attacker in a process controls the database server, and its host.",
          "Use a role that owns the ledger's database and nothing else (CREATE ROLE ... LOGIN, ALTER DATABASE ... "
          "OWNER TO).",
          lambda it: it[0].production and it[1].ledger.database.is_superuser()),
    Check("ledger.url", WARN,
          "PostgreSQL has too few locks for the ledger's partitions: some concurrent searches for numbers fail.",
          "Set max_locks_per_transaction = 512, and restart PostgreSQL.",
          lambda it: it[1].ledger.database.lacks_locks()),
)  # fmt: skip


NO_LEDGER: tuple[Check[bool], ...] = (
    Check("ledger", WARN, "The ledger is not created yet: nothing is recorded, and starts are refused.",
          "Start serve or worker, which create it; or: otp-service ledger upgrade", lambda upgrades: upgrades),
    Check("ledger", FAIL, "The ledger is not created yet, and ledger.upgrade = false lets no process create it.",
          "otp-service ledger upgrade", lambda upgrades: not upgrades),
)  # fmt: skip


def ledger_diagnoses(settings: Settings, context: Context) -> Iterator[Diagnosis]:
    """Yield diagnoses of the ledger and its mirror; write nothing, and make no file."""
    try:
        yield from diagnose(LEDGER, (settings, context))
        if not context.ledger.database.exists():
            yield from diagnose(NO_LEDGER, settings.ledger.upgrade)
        elif not context.ledger.is_made():
            yield refusal_diagnosis(LEDGER_NOT_MADE, WARN if settings.ledger.upgrade else FAIL)
        else:
            if needed := root_key_refusal(context):
                yield refusal_diagnosis(needed)
            yield from diagnose(FACTORS, context)
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
    yield from diagnose(RECORDER, context.store.events.unrecorded())


def mirror_diagnosis(context: Context) -> Diagnosis:
    """Return whether the mirror in Redis is up to date; raises `LedgerUnavailableError`."""
    return next(diagnose(MIRROR, context.mirror_sync.inspect()))


def warn_of_mirror(context: Context) -> None:
    """Warn if a new record is not in force, because Redis mirrors another ledger or state."""
    diagnosis = mirror_diagnosis(context)
    if diagnosis.level is FAIL:
        out.warn(f"{diagnosis.sentence} {diagnosis.action}")


Endpoints = tuple[Context, tuple[Endpoint, ...], int]
"""The endpoints of webhooks, and the present time in milliseconds since the epoch."""


def _roots(endpoints: Endpoints, *, known: bool) -> Iterator[Mapping[str, object]]:
    """Yield the inactive root keys, known or unknown, that secrets are sealed under."""
    context, stored, now = endpoints
    roots = context.keyring.root_ids
    for root, count in root_keys_in_use(stored, now).items():
        if root not in roots[:1] and (root in roots) == known:
            yield {"root": root, "count": count_of(count, "endpoint")}


_DISABLED = {EndpointStatus.GONE: "it answered 410", EndpointStatus.FAILING: "it failed for five days"}
ENDPOINTS: tuple[Check[Endpoints], ...] = (
    Check("webhooks", FAIL, "The root key {root} is missing: webhooks of {count} cannot be signed, and wait.",
          "Add it behind the others, then otp-service webhook reseal; or rotate the endpoints.",
          lambda endpoints: _roots(endpoints, known=False)),
    Check("webhooks", WARN, "The root key {root} is still needed: secrets of {count} are sealed under it.",
          "otp-service webhook reseal", lambda endpoints: _roots(endpoints, known=True)),
    Check("webhooks", WARN, "The endpoint {id} of {application} is disabled: {why}.",
          "Inform its owner; then otp-service webhook enable {id}, and replay.",
          lambda endpoints: ({"id": it.id, "application": it.application, "why": _DISABLED[it.status]}
                             for it in endpoints[1] if it.status in _DISABLED)),
    Check("webhooks", WARN,
          "The endpoint {id} of {application} answers after {seconds} s: it has half as many calls at once.",
          "Ask its owner to answer before the work begins.",
          lambda endpoints: ({"id": it.id, "application": it.application, "seconds": it.seconds}
                             for it in endpoints[1] if it.is_slow)),
)  # fmt: skip


def endpoint_diagnoses(context: Context, now: int) -> Iterator[Diagnosis]:
    """Yield the faults of webhooks; none if the ledger does not answer, which `ledger_diagnoses` reports."""
    try:
        endpoints = context.ledger.endpoints.of() if context.ledger.database.exists() else ()
    except LedgerUnavailableError:
        return
    yield from diagnose(ENDPOINTS, (context, endpoints, now))


Callers = tuple[AccessCache, int]
"""The API keys, and the present time in milliseconds since the epoch."""


def _without_key(callers: Callers) -> Iterator[Mapping[str, object]]:
    access_cache, now = callers
    calling = {key.application for key in access_cache.snapshot.keys.values() if key.is_valid(now)}
    return ({"name": name} for name in access_cache.snapshot.applications if name not in calling)


ACCESS: tuple[Check[Callers], ...] = (
    Check("applications", WARN, "No application exists.", "otp-service application add NAME FILE",
          lambda callers: not callers[0].snapshot.applications),
    Check("applications.{name}", WARN, "It has no API key.", "otp-service key add {name}", _without_key),
)  # fmt: skip


def access_diagnoses(settings: Settings, context: Context, now: int) -> Iterator[Diagnosis]:
    """Yield the applications that could not call at ``now``, and faults of those in the ledger.

    It yields nothing if the ledger does not answer, which `ledger_diagnoses` reports.
    """
    access_cache = context.access_cache
    try:
        access_cache.refresh()
    except LedgerUnavailableError:
        return
    yield from diagnose(ACCESS, (access_cache, now))
    for name, application in access_cache.snapshot.applications.items():
        if not access_cache.is_configured(name):
            yield from diagnose(APPLICATION, CheckedApplication(name, application, settings))
            rules = access_cache.snapshot.rulesets[name].ruleset
            yield from diagnose(CEILINGS, {name: rules}) if settings.production else ()


# --- deliveries -----------------------------------------------------------------------------------------------

HOUR = 3_600_000
MAX_DEAD_LETTERS = 1000
"""Dead letters read from each bucket."""
TOLERATED_LAG = 30.0
"""Seconds that a message may wait before people notice."""
NUMBER_FAULTS = frozenset({"destination", "channel", "policy"})
"""Reasons that lie in the number, not in the installation."""


def _unused(gateway: tuple[str, GatewayHealth], *, by_hand: bool) -> Cases:
    name, health = gateway
    if health.state is BreakerState.CLOSED or bool(health.opened_by) != by_hand:
        return ()
    state = gateway_state(health)
    words = f"{state}, for {out.time_left(state.left)} yet" if state.left else str(state)
    return [{"name": name, "state": words}]


GATEWAY: tuple[Check[tuple[str, GatewayHealth]], ...] = (
    Check("gateways.{name}", FAIL, "It refuses our account, for the last time {ago} ago: {refusal}.",
          "Correct its key, credit, sender or address with its provider; then otp-service gateway resume {name}.",
          lambda it: [{"name": it[0], "refusal": it[1].refusal, "ago": duration(it[1].refused // 1000)}]
          if it[1].refusal else ()),
    Check("gateways.{name}", WARN, "It is {state}.", "otp-service gateway resume {name}",
          lambda gateway: _unused(gateway, by_hand=True)),
    Check("gateways.{name}", WARN, "It is {state}.", "See otp-service gateway status, and its provider.",
          lambda gateway: _unused(gateway, by_hand=False)),
)  # fmt: skip


def _by_count(counts: Mapping[str, int], text: str) -> str:
    """Describe counts, the largest first."""
    largest = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(text.format(count=count, name=name) for name, count in largest if count)


def _ours(reasons: Mapping[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in reasons.items() if reason not in NUMBER_FAULTS}


DEAD_LETTERS: tuple[Check[Mapping[str, int]], ...] = (
    Check("dead letters", OK, "In the last hour no deliverable message was given up.", "",
          lambda reasons: not _ours(reasons)),
    Check("dead letters", WARN, "Messages were given up in the last hour: {reasons}.",
          "otp-service dead-letters list; the reasons are explained in docs/operations.md.",
          lambda reasons: [{"reasons": _by_count(ours, "{count} {name}")}] if (ours := _ours(reasons)) else ()),
)  # fmt: skip
BACKLOG: tuple[Check[tuple[float, Mapping[str, int]]], ...] = (
    Check("backlog", OK, "No message waits for long.", "", lambda it: it[0] <= TOLERATED_LAG),
    Check("backlog", WARN, "The oldest message has waited for {lag}: {waiting}.",
          "Add workers, or find the slow gateway: otp-service gateway status.",
          lambda it: [{"lag": duration(round(it[0])), "waiting": _by_count(it[1], "{count} of {name}")}]
          if it[0] > TOLERATED_LAG else ()),
)  # fmt: skip
"""Of the age of the oldest message in seconds, and the counts of waiting messages by application."""


INBOX: tuple[Check[Sequence[WaitingMessage]], ...] = (
    Check("inbox", WARN, "Unread messages from people: {count}, the oldest since {age}. Some may ask to stop.",
          "Read them in the console, or by otp-service inbox list. They are deleted after 5 days.",
          lambda waiting: [{"count": len(waiting), "age": duration(_age(waiting[0]))}]
          if waiting and _age(waiting[0]) > _UNREAD_AFTER else ()),
)  # fmt: skip
_UNREAD_AFTER: Final = 2 * 24 * 3600
"""Seconds after which a message should have been read."""


def _age(message: WaitingMessage) -> int:
    return (clock.now() - message.received) // 1000


def delivery_diagnoses(context: Context) -> Iterator[Diagnosis]:
    """Yield the faults of messages and gateways in the store. Nothing is written."""
    store = context.store
    for gateway in store.health.of(tuple(context.gateways)).items():
        yield from diagnose(GATEWAY, gateway)
    yield from diagnose(DEAD_LETTERS, count_reasons(store.dead_letters.since(HOUR, MAX_DEAD_LETTERS)))
    yield from diagnose(BACKLOG, (store.outbox.lag(), store.history.waiting_messages()))
    yield from diagnose(INBOX, store.inbox.waiting())


_COLOURS: Final = {OK: "green", WARN: "yellow", FAIL: "red"}
_SERVERS_NOT_CHECKED = Diagnosis(
    WARN,
    "server",
    "Redis and the ledger were not checked: nothing connects to them while the settings refuse to start.",
    "Correct the settings that failed, and run the command again.",
)


def connection_diagnosis(result: ConnectionResult) -> Diagnosis:
    return Diagnosis(FAIL if result.remedy else OK, result.target.place, result.cause, result.remedy)


def network_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield whether this host reaches gateways, and this service at its public URL. No message is sent."""
    yield from map(connection_diagnosis, try_all(gateway_targets(settings)))
    yield from map(connection_diagnosis, public_url_results(settings, settings.keyring()))


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
    yield from diagnose(REGISTRATIONS, settings)
    yield from file_diagnoses()
    if any(diagnosis.level is FAIL for diagnosis in unsafe):
        yield _SERVERS_NOT_CHECKED  # a password must not be sent over a connection that others can read
    else:
        yield from network_diagnoses(settings) if network else ()
        yield from _installation_diagnoses(settings)


def _installation_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield the faults of Redis and the ledger. Nothing is written: a check must not claim a Redis."""
    try:
        context = install(settings).context
        server = context.store.server
        if missing := server.missing_rights():
            for right in dict.fromkeys(missing):
                yield from diagnose(RIGHTS, right)
            return
        yield from _server_diagnoses(settings, context.store)
        yield from _write_diagnoses(settings, server)
        yield from diagnose(CLOCK, server.clock_skew())
        if refusal := server.refusal():
            yield refusal_diagnosis(refusal)
        else:
            yield from diagnose(CLAIM, server.claimed())
        yield from diagnose(FENCE, context.store.fences.current())
        yield from diagnose(WORKER, server.worker_age())
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


def _write_diagnoses(settings: Settings, server: Server) -> Iterator[Diagnosis]:
    try:
        server.require_writable()
    except StoreUnavailableError as refused:
        yield redis_diagnosis(settings, refused)


def _server_diagnoses(settings: Settings, store: Store) -> Iterator[Diagnosis]:
    """Yield the faults of the server, or those of all servers of a cluster without repetition."""
    server, scripts = store.server, store.scripts
    versions = server.versions()
    values = {name: server.settings(name) for name in (*_EXPECTED, _FSYNC)}
    diagnoses = [diagnosis for version in filter(None, versions) for diagnosis in diagnose(VERSION, version)]
    for missing in server.missing_commands():
        level = FAIL if missing is WAIT_NEEDED else WARN
        diagnoses.append(Diagnosis(level, missing.command, missing.sentence, missing.action))
    for place in range(len(versions)):
        diagnoses += server_diagnoses({name: of_servers[place] for name, of_servers in values.items()}.get)
    yield from dict.fromkeys(diagnoses)
    if scripts.is_cluster:
        coverage = server.settings("cluster-require-full-coverage")
        state = ClusterState(versions, coverage, server.unserved_slots(), settings.keys.buckets)
        yield from diagnose(CLUSTER, state)
    for online, known in sorted(set(server.replicas())):
        replaceable = bool(settings.redis.sentinels or (scripts.is_cluster and known))
        replicas = Replicas(online, known, scripts.awaited_replicas, replaceable)
        yield from diagnose(REPLICATION, replicas)
