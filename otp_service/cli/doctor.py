"""otp-service doctor: checks of a running installation.

A check that refuses a start belongs in `otp_service.settings.startup_checks`; the doctor shows those too.
"""

import fcntl
import os
import re
import resource
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from otp_service.store.inbox import WaitingMessage
from otp_service.store.mirror import NO_EVICTION, Server, eviction_refusal
from otp_service.store.outbox import count_reasons

# --- the settings ---------------------------------------------------------------------------------------------

ANY_UNLISTED_COUNTRY = "ZZ"
"""Stands for any country that no route names, for an application that may send to all countries."""
_MINUTE = 60


@dataclass(frozen=True, slots=True)
class CheckedApplication:
    """An application, of the configuration or the ledger, with all settings: what the checks of applications take."""

    name: str
    application: Application
    settings: Settings

    def gaps(self) -> Iterator[Mapping[str, object]]:
        """Yield the countries that no gateway reaches by a channel of a purpose, and whether it is the first one."""
        for purpose in sorted(self.application.purposes):
            channels = self.settings.named_purposes[purpose].channels
            for channel in channels:
                asked = sorted(self.application.countries or {ANY_UNLISTED_COUNTRY})
                missing = [c for c in asked if not self.settings.routing.gateways_for(c, purpose, channel)]
                countries = "some countries" if missing == [ANY_UNLISTED_COUNTRY] else ", ".join(missing)
                if missing:
                    yield {
                        "channel": channel,
                        "first": channel is channels[0],
                        "purpose": purpose,
                        "countries": countries,
                    }


def _checked_applications(settings: Settings) -> Iterator[CheckedApplication]:
    return (CheckedApplication(name, one, settings) for name, one in settings.named_applications.items())


_GAP = "No gateway carries {channel} for {purpose} to {countries}."
_CLOSE_GAP = "Add a route or a gateway, or take the channel out of the purpose."

APPLICATION: tuple[Check[CheckedApplication], ...] = (
    Check("applications.{it.name}", WARN,
          "It has no home: all its countries count as abroad, where little passes, and may be closed altogether.",
          "Set home to the country that most of its traffic goes to.",
          lambda one: one.application.home is None),
    Check("applications.{it.name}", WARN,
          'With client_ip = "connection" and no trusted proxy, all who come through a proxy count as one.',
          "Set http.trusted_proxies to the number of proxies before the service.",
          lambda one: one.application.client_ip is ClientIpSource.CONNECTION
          and one.settings.production and not one.settings.http.trusted_proxies),
    Check("applications.{it.name}", FAIL, _GAP, _CLOSE_GAP, lambda one: (it for it in one.gaps() if it["first"])),
    Check("applications.{it.name}", WARN, _GAP, _CLOSE_GAP, lambda one: (it for it in one.gaps() if not it["first"])),
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
    for name, one in {} if settings.http.public_url else settings.gateways.items():
        reports = issubclass(one.plugin_class, REPORTS_OVER_HTTP) and one.settings.takes_receipts
        if reports and not one.plugin_class.development_only:
            yield {"name": name}


SETTINGS: tuple[Check[Settings], ...] = (
    Check("profile", OK, "{it.profile} is in force.", "", lambda settings: bool(settings.profile)),
    Check("purposes.{name}", WARN,
          "No message is ever sent again: the wait for it is {delay} s, and the code lives {ttl} s.",
          "Shorten resend_delays, lengthen ttl, or set max_sends to 1.",
          lambda settings: ({"name": name, "delay": one.resend_delays[0], "ttl": one.ttl}
                            for name, one in settings.purposes.items()
                            if one.max_sends > 1 and one.ttl <= one.resend_delays[0])),
    Check("purposes.{name}", WARN,
          'A code lives {ttl} s: messages say "less than a minute", and many arrive later.',
          f"Set ttl to {_MINUTE} or more.",
          lambda settings: ({"name": name, "ttl": one.ttl} for name, one in settings.purposes.items()
                            if one.ttl < _MINUTE)),
    Check("gateways.{name}", OK, "The settings of this {kind} gateway are complete.", "",
          lambda settings: ({"name": name, "kind": one.kind} for name, one in settings.gateways.items())),
    Check("gateways.{name}", WARN, "It could report what became of a message, but does not know where.",
          "Set http.public_url.", _unreported),
    Check("policies.{name}", OK, "The settings of this {kind} policy are complete.", "",
          lambda settings: ({"name": name, "kind": one.kind} for name, one in settings.policies.items())),
    Check("routes.{position}", WARN, "The gateway {gateway} is never asked: it carries none of {channels}.",
          "Take it out of the route, or correct the route's channels.", _unused_gateways),
    Check("routes", OK, "Every application reaches every country of its list.", "",
          lambda settings: bool(settings.applications) and
          not any(any(one.gaps()) for one in _checked_applications(settings))),
    Check("http.public_url", WARN, "Receipts come in without encryption.", "Use the https:// address.",
          lambda settings: settings.production and (settings.http.public_url or "").startswith("http://")),
    Check("webhooks.networks", WARN,
          "Webhooks may go to {networks}: whoever has a key of the scope webhooks can call what is there.",
          "Take out what no receiver is in.",
          lambda settings: [{"networks": ", ".join(settings.webhooks.networks)}]
          if settings.production and settings.webhooks.networks else ()),
    Check("http.metrics_on_same_port", WARN, "Everybody who reaches the service reads its metrics.",
          "Set it to false and use http.metrics_port.",
          lambda settings: settings.production and settings.http.metrics_on_same_port),
)  # fmt: skip


def settings_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield what shows from the settings alone."""
    for one in _checked_applications(settings):
        yield from diagnose(APPLICATION, one)
    yield from diagnose(SETTINGS, settings)
    for extension in load_extensions():
        yield from diagnose(extension.checks, settings)


_KEYS = frozenset(
    {RefusalName.KEY_MISSING, RefusalName.KEY_INVALID, RefusalName.SAMPLE_KEY, RefusalName.KEY_USED_TWICE}
)


def _keys(settings: Settings) -> Iterator[Mapping[str, object]]:
    """Yield the root keys: the active one, those that make nothing new, and when these may go."""
    if not any(reason.name in _KEYS for reason in start_refusals(settings)):
        active, *others = settings.keyring().root_ids
        kept = max((purpose.ttl for purpose in settings.purposes.values()), default=MAX_CODE_LIFE) + RECORD_GRACE
        yield {"active": active, "others": ", ".join(others), "kept": duration(kept)}


def _plain_protocols(settings: Settings) -> dict[str, str]:
    """Return the other hosts that a gateway's own protocol reaches without encryption, by the gateways' names."""
    found = {name: one.settings.plaintext_host for name, one in settings.gateways.items()}
    return {name: canonical_host(host) for name, host in found.items() if host and not is_local(host)}


def _exceptions(settings: Settings) -> Iterator[Mapping[str, object]]:
    """Yield the hosts that may be reached without encryption, and are."""
    lines = [(line.refusal.place, line.host, line.how) for line in unsafe_connections(settings)]
    lines += [(f"gateways.{name}", host, "without encryption") for name, host in _plain_protocols(settings).items()]
    return (
        {"place": place, "host": host, "how": how} for place, host, how in lines if host in settings.plaintext_hosts
    )


def _unused_exceptions(settings: Settings) -> Iterator[Mapping[str, object]]:
    used = {line.host for line in unsafe_connections(settings)} | set(_plain_protocols(settings).values())
    return ({"host": host} for host in settings.plaintext_hosts if host not in used)


def _no_password(settings: Settings) -> bool:
    url = settings.redis.url.get_secret_value()
    return leads_elsewhere(url) and not urlsplit(url).password


def _idle_rules(settings: Settings) -> Iterator[Mapping[str, object]]:
    """Yield the rules that enforce by default, and do not here."""
    modes = {rule.id: settings.guard.mode(rule.id) for rule in GUARD_RULES.values() if rule.mode is Mode.ENFORCE}
    if idle := [f"{rule} ({mode})" for rule, mode in modes.items() if mode is not Mode.ENFORCE]:
        yield {"rules": ", ".join(idle)}


_ROOT_KEY = "The pseudonym key is there. New verifications are made with the root key {active}"
SAFETY: tuple[Check[Settings], ...] = (
    Check("keys", OK, f"{_ROOT_KEY}.", "", lambda settings: (one for one in _keys(settings) if not one["others"])),
    Check("keys", OK, f"{_ROOT_KEY}; those of {{others}} are still known.",
          "To retire one: it may go {kept} after the last process was reloaded with {active} in front.",
          lambda settings: (one for one in _keys(settings) if one["others"])),
    Check("{place}", WARN, "{host} is reached {how}, which plaintext_hosts allows.",
          "Make sure that the network on the way is yours alone, or use TLS with a certificate that is verified and "
          "take the host out of the list.", _exceptions),
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
          "Give the service a user of its own (ACL), with the commands that it needs only.", _no_password),
)  # fmt: skip
PROTECTION: tuple[Check[Settings], ...] = (
    Check("{place}", WARN, f"It has fewer than {MIN_PASSWORD_LENGTH} characters: it can be guessed.",
          "Ask the provider for a longer one, if its system takes any.",
          lambda settings: ({"place": place} for place, secret in provider_secrets(settings)
                            if len(secret) < MIN_PASSWORD_LENGTH and not is_sample(secret))),
    Check("guard.modes", WARN, "These rules refuse nothing: {rules}.",
          "Enforce them, once you have seen what they would refuse: otp-service guard status", _idle_rules),
    Check("ledger.rebuild_lost_mirror", WARN,
          "An empty Redis is filled from the ledger without asking: a ledger that was restored too is not noticed.",
          "Take it out; after a loss of Redis: otp-service ledger rebuild.",
          lambda settings: bool(settings.ledger.rebuild_lost_mirror)),
    Check("audit.export", WARN,
          "Heads of the audit chain stay here: who changes the database can cut its end off unnoticed.",
          "Hand them out to where administrators of the database cannot change them, such as syslog://HOST:PORT.",
          lambda settings: not settings.audit.export),
)  # fmt: skip
"""What guards against abuse and loss in production: somebody may have chosen to do without, and is reminded."""


def safety_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield what refuses a start with these settings, and what is allowed although it is not safe."""
    excepted = settings.plaintext_hosts
    yield from map(refusal_diagnosis, start_refusals(settings))
    if not settings.production:
        yield from (
            refusal_diagnosis(one.refusal, WARN) for one in unsafe_connections(settings) if one.host not in excepted
        )
    yield from diagnose(SAFETY, settings)
    if settings.production:
        yield from diagnose(PROTECTION, settings)
        yield from diagnose(CEILINGS, settings.rulesets)


def _ending(settings: Settings, *, over: bool) -> Iterator[Mapping[str, object]]:
    for one in settings.sending_rules.registrations:
        if one.expires_soon(day := today()) and one.has_expired(day) == over:
            place = f"{'approvals' if isinstance(one, Approval) else 'senders'}.{one.name}"
            yield {"place": place, "day": one.valid_until, "country": one.country}


_RENEW = "Renew it where it was registered, and correct valid_until."
REGISTRATIONS: tuple[Check[Settings], ...] = (
    Check("{place}", FAIL, "It ended on {day}: no message to {country} goes out by it.", _RENEW,
          lambda settings: _ending(settings, over=True)),
    Check("{place}", WARN, "It is good until {day}, its last day; then no message to {country} goes out by it.", _RENEW,
          lambda settings: _ending(settings, over=False)),
    Check("registrations", OK, "No sender and no approval ends within a month.", "",
          lambda settings: bool(settings.sending_rules.registrations)
          and not any(one.expires_soon(today()) for one in settings.sending_rules.registrations)),
)  # fmt: skip


# --- Redis ----------------------------------------------------------------------------------------------------

OLDEST = {"Redis": (7, 2), "Valkey": (8, 0)}
LISTPACK = "hash-max-listpack-value"
LONGEST_VALUE = 128
"""Bytes that one value of a record may have; longer than the server's limit, the record takes three times the room."""
TOLERATED_SKEW = 1.0
"""Seconds between this host's clock and Redis' beyond which what this host shows may be wrong."""

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
        "belongs to a cluster, but is configured as a single server",
        "Set redis.cluster = true before the first start.",
    ),
    ConnectionProblem.ALONE: (
        "is no cluster",
        "Set redis.cluster = false, or start the server with cluster-enabled yes.",
    ),
    ConnectionProblem.NOT_REDIS: ("does not answer as Redis does", "Correct redis.url: something else listens there."),
}


def redis_diagnosis(settings: Settings, silent: StoreUnavailableError) -> Diagnosis:
    """Return why Redis does not answer, and what to do."""
    problem = connection_problem(silent)
    if (refused := certificate_error(silent)) is not None:
        return Diagnosis(FAIL, "redis.url", *certificate_problem(refused, f"Redis at {settings.redis.shown_url}"))
    what, action = _CONNECTION_ADVICE[problem]
    if denied := re.search(r"the '([\w|]+)' command", str(silent.__cause__)):
        what, action = f"refuses {denied[1]} to this user", "Give the user the rights of docs/install.md (ACL)."
    if problem is ConnectionProblem.SILENT and _dev_is_stopped():
        what, action = "does not answer: the service of make run in this folder is not running", "Start it: make run"
    return Diagnosis(FAIL, "redis.url", f"Redis at {settings.redis.shown_url} {what}.", action)


def _dev_is_stopped() -> bool:
    """Tell whether the settings are those of ``dev`` in this folder, and nobody holds its lock: it is not running."""
    folder = Path(".otp-service").resolve()
    if Path(os.environ.get(CONFIG_VARIABLE, "")).resolve().parent != folder:
        return False
    try:
        with (folder / "lock").open(encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _age_of(version: str) -> str:
    """Tell whether ``Redis 7.2.4`` or ``Valkey 8.1.0`` is unknown, too old, or fit."""
    name, _, number = version.partition(" ")
    found = re.match(r"(\d+)\.(\d+)", number)
    if not found or name not in OLDEST:
        return "unknown"
    return "old" if (int(found[1]), int(found[2])) < OLDEST[name] else "fit"


_NEWER = "Use Redis 7.2 or Valkey 8, or newer."
VERSION: tuple[Check[str], ...] = (
    Check("server", WARN, "{it} is not known.", _NEWER, lambda version: _age_of(version) == "unknown"),
    Check("server", FAIL, "{it} is too old.", _NEWER, lambda version: _age_of(version) == "old"),
    Check("server", OK, "{it} answers.", "", lambda version: _age_of(version) == "fit"),
)

Ask = Callable[[str], str | None]
"""Returns a setting of the server; ``None`` when it does not tell."""
_FSYNC = "appendfsync"
_MAXMEMORY = "maxmemory"
_WANTED = {
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
    Check("{setting}", WARN, "The server does not tell; {should}.", "Look at your provider's settings.",
          lambda ask: ({"setting": name, "should": should} for name, should in _WANTED.items() if ask(name) is None)),
    Check("maxmemory-policy", OK, "noeviction: no counter is ever evicted.", "",
          lambda ask: ask("maxmemory-policy") == NO_EVICTION),
    Check(_MAXMEMORY, WARN,
          "Redis has no limit of its own: when the memory of its host is used up, the kernel kills it.",
          "Set maxmemory to half of the host's memory: rewriting the append-only file takes the rest.",
          lambda ask: ask(_MAXMEMORY) == "0"),
    Check("appendonly", WARN,
          "Without an append-only file a restart loses accepted messages and forgets every budget.",
          "Set appendonly yes.", lambda ask: ask("appendonly") not in {None, "yes"}),
    Check("appendfsync", OK, "Everything that was accepted survives a crash.", "", lambda ask: _fsync(ask, "always")),
    Check("appendfsync", OK, "A crash loses what was accepted and counted in the last second, at most two.", "",
          lambda ask: _fsync(ask, "everysec")),
    Check("appendfsync", WARN,
          "A crash loses what the operating system had not written yet, often half a minute.",
          "Set appendfsync everysec.", lambda ask: _fsync(ask, "no")),
    Check("appendfsync", WARN, "appendfsync {value} is not known.", "Set appendfsync everysec.",
          lambda ask: [{"value": ask(_FSYNC)}]
          if ask("appendonly") == "yes" and ask(_FSYNC) not in {"always", "everysec", "no"} else ()),
    Check(LISTPACK, WARN, "With {value} a record takes about three times the room.", f"Set {LISTPACK} 1024.",
          lambda ask: _listpack(ask, enough=False)),
    Check(LISTPACK, OK, "{value}: records stay small.", "", lambda ask: _listpack(ask, enough=True)),
)  # fmt: skip


def server_diagnoses(ask: Ask) -> Iterator[Diagnosis]:
    """Yield what the server's settings mean for codes and budgets."""
    told = {name: ask(name) for name in (*_WANTED, _FSYNC)}
    if (policy := told["maxmemory-policy"]) and policy != NO_EVICTION:
        yield refusal_diagnosis(eviction_refusal(policy))
    yield from diagnose(SERVER, lambda name: told[name])


@dataclass(frozen=True, slots=True)
class Replicas:
    """A server's replicas."""

    online: int
    known: int
    """How many Sentinels or the cluster know, online or not; 0 without either."""
    awaited: int
    """How many must have an approval before it is answered."""
    replaceable: bool
    """Whether Sentinels, or a cluster, put one of them in the server's place."""

    @property
    def loses_codes(self) -> bool:
        """Whether, if the server died, too few would be left to show that its successor has all that was answered."""
        return 0 < self.awaited <= self.online and self.known - self.awaited > self.online - 1


REPLICATION: tuple[Check[Replicas], ...] = (
    Check("replicas", FAIL, "{it.online} of {it.awaited} replicas that are waited for: starts and checks get 503.",
          "Start replicas, or set redis.replicas lower.", lambda it: it.online < it.awaited),
    Check("replicas", WARN, "Each of {it.online} replicas is waited for: when one is away, starts and checks get 503.",
          "Add a replica.", lambda it: 0 < it.awaited == it.online),
    Check("replicas", WARN,
          "No replica is waited for: a fail-over forgets approvals and wrong codes, and ends all codes in hand.",
          "Set redis.replicas to 1 or more.", lambda it: it.replaceable and not it.awaited),
    Check("replicas", WARN,
          "{it.online} replicas are online, but Sentinels or the cluster know {it.known}: one that they do not know "
          "may be the only one that has an approval.",
          "Let replicas be announced (replica-announced yes); no other tool may follow the server as one.",
          lambda it: it.awaited > 0 and it.replaceable and it.online > it.known),
    Check("replicas", WARN,
          "{it.online} of {it.known} replicas are online: when the server dies too, all codes in hand end.",
          "Start the others, or let Sentinels (SENTINEL RESET) or the cluster (CLUSTER FORGET) forget those that are "
          "gone for good.", lambda it: it.loses_codes),
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
    """Of the buckets of numbers."""


_MIGRATES = re.compile(r"Valkey (9|\d\d+)\.")
CLUSTER: tuple[Check[ClusterState], ...] = (
    Check("server", FAIL, "{version} moves slots key by key: what is not there yet looks absent.",
          "Use Valkey 9 or later in a cluster, and move slots by CLUSTER MIGRATESLOTS.",
          lambda it: [{"version": one} for one in dict.fromkeys(it.versions) if not _MIGRATES.match(one)]),
    Check("cluster", FAIL, "No server has {it.unserved} of the 16384 slots: what is there gets 503.",
          "Look at CLUSTER SHARDS: start servers again, or let replicas take over.", lambda it: it.unserved > 0),
    Check("cluster-require-full-coverage", WARN, "While one shard is away all servers refuse.",
          "Set cluster-require-full-coverage no on each server.", lambda it: "yes" in it.coverage),
    Check("cluster-require-full-coverage", OK, "While one shard is away the others serve.", "",
          lambda it: set(it.coverage) == {"no"}),
    Check("keys.buckets", WARN, "All numbers are in one slot, so at one server.",
          "Set keys.buckets = 16 before the first start: it never changes.", lambda it: it.buckets == 1),
)  # fmt: skip


def skew_in_words(skew: float) -> str:
    """Return by how much this host's clock, ``skew`` seconds ahead of the server's, is off; "" where that is little."""
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
"""Files and connections that `serve` may hold at a time: 512 connections of callers, and its own; a worker fewer."""
FILES: tuple[Check[int], ...] = (
    Check("files", WARN, "A process started from here may open {it} files and connections: {needed} are needed.",
          "Raise the limit of what starts the processes: LimitNOFILE=65536 (systemd), ulimit -n 65536 (a shell).",
          lambda limit: [{"needed": FILES_NEEDED}] if limit < FILES_NEEDED else ()),
)  # fmt: skip


def file_diagnoses() -> Iterator[Diagnosis]:
    """Yield whether a process started from here may open enough files and connections."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return diagnose(FILES, soft if soft != resource.RLIM_INFINITY else FILES_NEEDED)


CLAIM: tuple[Check[bool], ...] = (
    Check("installation", OK, "It is the one that the server knows.", "", lambda claimed: claimed),
    Check("installation", OK, "The server is new; the first start claims it.", "", lambda claimed: not claimed),
)
FENCE: tuple[Check[int | None], ...] = (
    Check("fence", OK, "Fenced: what was started until {at} UTC is expired.", "",
          lambda fence: [{"at": out.moment(fence)}] if fence else ()),
)  # fmt: skip
WORKER: tuple[Check[int | None], ...] = (
    Check("worker", WARN, "No worker was seen recently: nothing is delivered.", "otp-service worker",
          lambda age: age is None),
    Check("worker", OK, "A worker was seen {it} s ago.", "", lambda age: age is not None),
)  # fmt: skip


# --- the ledger -----------------------------------------------------------------------------------------------

_LATE = 10_000
"""Events that wait to be recorded from which on somebody should look."""


def up_to_date(changes: int) -> str:
    """Return the sentence that Redis is up to date."""
    return f"Redis knows all of it (consents and suppressions: {count_of(changes, 'change')})."


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
    Check("ledger", WARN, "Redis knows nothing of this ledger yet: starts are refused.",
          "It is mirrored when a process starts; if it stays so: otp-service ledger rebuild.",
          _mirror_is(MirrorState.ABSENT)),
    Check("ledger", WARN, "Redis is {changes} behind.", "Look again.",
          lambda it: [{"changes": count_of(it.lag, "change")}] if it.state is MirrorState.BEHIND else ()),
    Check("ledger", OK, "The ledger answers, and {known}", "",
          lambda it: [{"known": up_to_date(it.changes)}] if it.state is MirrorState.OK else ()),
)  # fmt: skip
RECORDER: tuple[Check[int], ...] = (
    Check("ledger", WARN, "{it} events are not recorded yet.", "Start more workers, or a faster database.",
          lambda waiting: waiting >= _LATE),
    Check("ledger", OK, "Events that are still to be recorded: {it}.", "", lambda waiting: waiting < _LATE),
)  # fmt: skip


def _former_seals(context: Context) -> Iterator[Mapping[str, object]]:
    """Yield how many authenticator apps are sealed under root keys that are not the active one."""
    roots, sealed = context.keyring.root_ids, context.ledger.factors.root_keys()
    yield from ({"key": one, "count": sealed[one], "active": roots[0]} for one in roots[1:] if one in sealed)


ROOT_KEYS: tuple[Check[Context], ...] = (
    Check("keys", OK, "Of authenticator apps {count} are sealed under the root key {key}.",
          "Before it goes, seal them under {active}: otp-service factor reseal", _former_seals),
)  # fmt: skip


def _ahead(context: Context) -> Iterator[Mapping[str, object]]:
    """Yield how many authenticator apps refuse codes because a clock ran ahead."""
    if count := count_ahead(context):
        yield {"count": count}


STEPS: tuple[Check[Context], ...] = (
    Check("factors", WARN,
          "Of authenticator apps at least {count} refuse codes: the last one accepted is ahead of Redis' clock.",
          "Set the clock right, and then: otp-service factor reset-steps", _ahead),
    Check("factors", WARN, "Checks of authenticator apps wait: Redis' clock was ahead when it was started.",
          "Set the clock right, and then: otp-service factor reset-steps", checks_wait),
)  # fmt: skip
LEDGER: tuple[Check[tuple[Settings, Context]], ...] = (
    Check("ledger.url", WARN,
          "The ledger is a file of this host, and Redis is on another: processes elsewhere have another ledger.",
          "Use postgresql:// unless all processes run here.",
          lambda it: "sqlite:" in it[0].ledger.shown_url
          and leads_elsewhere(it[0].redis.url.get_secret_value())),
    Check("ledger.url", FAIL,
          f"The disk of the ledger's file has less than {MIN_FREE_MIB} MiB left: soon nothing is recorded.",
          "Free room there.", lambda it: it[1].ledger.database.lacks_space()),
    Check("ledger.url", WARN,
          "The database's role is a superuser: who takes over a process takes the database server, and its host, too.",
          "Use a role that owns the ledger's database and nothing else (CREATE ROLE ... LOGIN, ALTER DATABASE ... "
          "OWNER TO).",
          lambda it: it[0].production and it[1].ledger.database.is_superuser()),
    Check("ledger.url", WARN,
          "PostgreSQL has too few locks for the ledger's partitions: where several look for numbers, one is refused.",
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
    """Yield what the ledger and its mirror tell; nothing is written, nor is a file made."""
    try:
        yield from diagnose(LEDGER, (settings, context))
        if not context.ledger.database.there():
            yield from diagnose(NO_LEDGER, settings.ledger.upgrade)
        elif not context.ledger.is_made():
            yield refusal_diagnosis(LEDGER_NOT_MADE, WARN if settings.ledger.upgrade else FAIL)
        else:
            if needed := root_key_refusal(context):
                yield refusal_diagnosis(needed)
            yield from diagnose(ROOT_KEYS, context)
            yield from diagnose(STEPS, context)
            yield from mirror_diagnoses(context)
    except LedgerMismatchError:
        yield refusal_diagnosis(LEDGER_OF_OTHER_KEY)
    except LedgerFormatError as other:
        yield refusal_diagnosis(ledger_of_other_format(other))
    except LedgerUnavailableError as away:
        yield ledger_diagnosis(settings, away)


def ledger_diagnosis(settings: Settings, away: LedgerUnavailableError) -> Diagnosis:
    """Return which database is not available, and what to do."""
    sentence = f"{settings.ledger.shown_url}: {away}"
    if str(away) in REMEDIED:
        return Diagnosis(FAIL, "ledger.url", sentence)
    is_file = "sqlite:" in settings.ledger.shown_url
    look = "look at its rights and disk. Only a damaged file is restored from a copy."
    return Diagnosis(FAIL, "ledger.url", sentence, f"Correct ledger.url, or {look if is_file else 'start it.'}")


def mirror_diagnoses(context: Context) -> Iterator[Diagnosis]:
    """Yield how far the mirror in Redis, and the recorder, are behind; raises `LedgerUnavailableError`."""
    yield mirror_diagnosis(context)
    yield from diagnose(RECORDER, context.store.events.unrecorded())


def mirror_diagnosis(context: Context) -> Diagnosis:
    """Return whether the mirror in Redis is up to date; raises `LedgerUnavailableError`."""
    return next(diagnose(MIRROR, context.mirror_sync.inspect()))


def warn_of_mirror(context: Context) -> None:
    """Warn where what was just recorded is not in force, because Redis mirrors another ledger or state."""
    found = mirror_diagnosis(context)
    if found.level is FAIL:
        out.warn(f"{found.sentence} {found.action}")


Endpoints = tuple[Context, tuple[Endpoint, ...], int]
"""The endpoints of webhooks, and when they are looked at: milliseconds since the epoch."""


def _roots(endpoints: Endpoints, *, known: bool) -> Iterator[Mapping[str, object]]:
    """Yield the root keys other than the active one that secrets are sealed under, known here or not."""
    context, theirs, now = endpoints
    roots = context.keyring.root_ids
    for root, count in root_keys_in_use(theirs, now).items():
        if root not in roots[:1] and (root in roots) == known:
            yield {"root": root, "count": count_of(count, "endpoint")}


def _disabled(endpoints: Endpoints) -> Iterator[Mapping[str, object]]:
    for one in endpoints[1]:
        if one.status in {EndpointStatus.FAILING, EndpointStatus.GONE}:
            why = "it answered 410" if one.status is EndpointStatus.GONE else "it failed for five days"
            yield {"id": one.id, "application": one.application, "why": why}


def _slow(endpoints: Endpoints) -> Iterator[Mapping[str, object]]:
    for endpoint in endpoints[1]:
        if endpoint.is_slow:
            yield {"id": endpoint.id, "application": endpoint.application, "seconds": endpoint.seconds}


ENDPOINTS: tuple[Check[Endpoints], ...] = (
    Check("webhooks", FAIL, "The root key {root} is missing: webhooks of {count} cannot be signed, and wait.",
          "Add it behind the others, then otp-service webhook reseal; or rotate the endpoints.",
          lambda endpoints: _roots(endpoints, known=False)),
    Check("webhooks", WARN, "The root key {root} may not go yet: secrets of {count} are sealed under it.",
          "otp-service webhook reseal", lambda endpoints: _roots(endpoints, known=True)),
    Check("webhooks", WARN, "The endpoint {id} of {application} is sent nothing more: {why}.",
          "Tell who receives there; then otp-service webhook enable {id}, and replay.", _disabled),
    Check("webhooks", WARN,
          "The endpoint {id} of {application} answers after {seconds} s: it has half as many calls at once.",
          "Tell who receives there to answer first, and work later.", _slow),
)  # fmt: skip


def endpoint_diagnoses(context: Context, now: int) -> Iterator[Diagnosis]:
    """Yield what keeps webhooks back; nothing where the ledger cannot be asked, which `ledger_diagnoses` tells."""
    try:
        theirs = context.ledger.endpoints.of() if context.ledger.database.there() else ()
    except LedgerUnavailableError:
        return
    yield from diagnose(ENDPOINTS, (context, theirs, now))


Callers = tuple[AccessCache, int]
"""Who may call, and when that is asked: milliseconds since the epoch."""


def _without_key(callers: Callers) -> Iterator[Mapping[str, object]]:
    access_cache, now = callers
    calling = {key.application for key in access_cache.snapshot.keys.values() if key.is_valid(now)}
    return ({"name": name} for name in access_cache.snapshot.applications if name not in calling)


ACCESS: tuple[Check[Callers], ...] = (
    Check("applications", WARN, "There is none.", "otp-service application add NAME FILE",
          lambda callers: not callers[0].snapshot.applications),
    Check("applications.{name}", WARN, "It has no API key.", "otp-service key add {name}", _without_key),
)  # fmt: skip


def access_diagnoses(settings: Settings, context: Context, now: int) -> Iterator[Diagnosis]:
    """Yield who could not call at ``now`` (milliseconds since the epoch), and what is wrong with the ledger's.

    Nothing, where the ledger cannot be asked: whether it is away or still to be made, `ledger_diagnoses` tells.
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
MOST = 1000
"""Dead letters that are looked at in each bucket."""
TOLERATED_LAG = 30.0
"""Seconds that a message may wait: then people notice."""
NUMBER_FAULTS = frozenset({"destination", "channel", "policy"})
"""Reasons that say something of the number, not of the installation: also where a policy denied it."""


def _left_alone(gateway: tuple[str, GatewayHealth], *, by_hand: bool) -> Cases:
    name, health = gateway
    if health.state is BreakerState.CLOSED or bool(health.opened_by) != by_hand:
        return ()
    state = gateway_state(health)
    words = f"{state}, for {out.time_left(state.left)} yet" if state.left else str(state)
    return [{"name": name, "state": words}]


GATEWAY: tuple[Check[tuple[str, GatewayHealth]], ...] = (
    Check("gateways.{name}", FAIL, "It refuses our account, for the last time {ago} ago: {refusal}.",
          "Mend its key, credit, sender or address with its provider; then otp-service gateway resume {name}.",
          lambda it: [{"name": it[0], "refusal": it[1].refusal, "ago": duration(it[1].refused // 1000)}]
          if it[1].refusal else ()),
    Check("gateways.{name}", WARN, "It is {state}.", "otp-service gateway resume {name}",
          lambda gateway: _left_alone(gateway, by_hand=True)),
    Check("gateways.{name}", WARN, "It is {state}.", "See otp-service gateway status, and its provider.",
          lambda gateway: _left_alone(gateway, by_hand=False)),
)  # fmt: skip


def _by_count(counts: Mapping[str, int], text: str) -> str:
    """Return counts in words, the largest first."""
    largest = sorted(sorted(counts.items()), key=lambda pair: -pair[1])
    return ", ".join(text.format(count=count, name=name) for name, count in largest if count)


def _ours(reasons: Mapping[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in reasons.items() if reason not in NUMBER_FAULTS}


DEAD_LETTERS: tuple[Check[Mapping[str, int]], ...] = (
    Check("dead letters", OK, "In the last hour no message was given up that could have arrived.", "",
          lambda reasons: not _ours(reasons)),
    Check("dead letters", WARN, "Messages were given up in the last hour: {reasons}.",
          "otp-service dead-letters list; the reasons are explained in docs/operations.md.",
          lambda reasons: [{"reasons": _by_count(ours, "{count} {name}")}] if (ours := _ours(reasons)) else ()),
)  # fmt: skip
BACKLOG: tuple[Check[tuple[float, Mapping[str, int]]], ...] = (
    Check("backlog", OK, "No message waits for long.", "", lambda it: it[0] <= TOLERATED_LAG),
    Check("backlog", WARN, "The oldest message waits for {lag}: {waiting}.",
          "Add workers, or find the gateway that is slow: otp-service gateway status.",
          lambda it: [{"lag": duration(round(it[0])), "waiting": _by_count(it[1], "{count} of {name}")}]
          if it[0] > TOLERATED_LAG else ()),
)  # fmt: skip
"""By the seconds that the oldest message waits, and how many wait, by application."""


INBOX: tuple[Check[Sequence[WaitingMessage]], ...] = (
    Check("inbox", WARN, "Messages from people wait to be read: {count}, the oldest for {age}. Some may ask to stop.",
          "Read them in the console, or by otp-service inbox list. They are deleted after 5 days.",
          lambda waiting: [{"count": len(waiting), "age": duration(_age(waiting[0]))}]
          if waiting and _age(waiting[0]) > _UNREAD_AFTER else ()),
)  # fmt: skip
_UNREAD_AFTER: Final = 2 * 24 * 3600
"""Seconds after which somebody should have read a message."""


def _age(message: WaitingMessage) -> int:
    return (clock.now() - message.received) // 1000


def delivery_diagnoses(context: Context) -> Iterator[Diagnosis]:
    """Yield what the store tells of messages and gateways. Nothing is written."""
    store = context.store
    for gateway in store.health.of(tuple(context.gateways)).items():
        yield from diagnose(GATEWAY, gateway)
    yield from diagnose(DEAD_LETTERS, count_reasons(store.dead_letters.since(HOUR, MOST)))
    yield from diagnose(BACKLOG, (store.outbox.lag(), store.history.waiting_messages()))
    yield from diagnose(INBOX, store.inbox.waiting())


_COLOURS: Final = {OK: "green", WARN: "yellow", FAIL: "red"}
_UNASKED = Diagnosis(
    WARN,
    "server",
    "Neither Redis nor the ledger was asked: nothing connects to them while the settings refuse to start.",
    "Mend what has failed, and look again.",
)


def connection_diagnosis(result: ConnectionResult) -> Diagnosis:
    """Return the result of a connection as a diagnosis."""
    return Diagnosis(FAIL if result.remedy else OK, result.target.place, result.cause, result.remedy)


def network_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield whether gateways are reached from here, and this service at its public URL. No message is sent."""
    yield from map(connection_diagnosis, try_all(gateway_targets(settings)))
    yield from map(connection_diagnosis, public_url_results(settings, settings.keyring()))


@command()
@click.option("--network", is_flag=True, help="Connect to gateways and to http.public_url, too. Sends no message.")
def doctor(session: Session, *, network: bool) -> None:
    """Say what is wrong with the set-up.

    Looks at settings, keys, gateways, Redis and the ledger. The exit status is 1 when something must be mended.
    """
    found = list(_examine(session, network=network))
    if not out.in_json(findings=list(map(out.members, found))):
        _print(found)
    if any(one.level is FAIL for one in found):
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
    if any(one.level is FAIL for one in unsafe):
        yield _UNASKED  # a password must not go where it could be read
    else:
        yield from network_diagnoses(settings) if network else ()
        yield from _installation_diagnoses(settings)


def _installation_diagnoses(settings: Settings) -> Iterator[Diagnosis]:
    """Yield what the servers tell. Nothing is written: looking must not claim a Redis for this installation."""
    try:
        context = install(settings).context
        server = context.store.server
        if not settings.redis.cluster and server.is_cluster_member():
            yield _used_alone(settings)
            return
        if missing := server.missing_rights():
            yield from (it for one in dict.fromkeys(missing) for it in diagnose(RIGHTS, one))
            return
        yield from _server_diagnoses(settings, server)
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


def _used_alone(settings: Settings) -> Diagnosis:
    what, action = _CONNECTION_ADVICE[ConnectionProblem.MEMBER]
    return Diagnosis(FAIL, "redis.url", f"Redis at {settings.redis.shown_url} {what}.", action)


def _write_diagnoses(settings: Settings, server: Server) -> Iterator[Diagnosis]:
    """Yield why the server takes no writes, without one."""
    try:
        server.require_writable()
    except StoreUnavailableError as refused:
        yield redis_diagnosis(settings, refused)


def _server_diagnoses(settings: Settings, server: Server) -> Iterator[Diagnosis]:
    """Yield what the server tells, or those of a cluster: what several tell, once."""
    versions, redis = server.versions(), settings.redis
    told = {name: server.settings(name) for name in (*_WANTED, _FSYNC)}
    asks = [{name: values[place] for name, values in told.items()}.get for place in range(len(versions))]
    found = [
        *(one for version in versions for one in diagnose(VERSION, version)),
        *(one for ask in asks for one in server_diagnoses(ask)),
    ]
    yield from dict.fromkeys(found)
    if redis.cluster:
        coverage = server.settings("cluster-require-full-coverage")
        state = ClusterState(versions, coverage, server.unserved_slots(), settings.buckets)
        yield from diagnose(CLUSTER, state)
    for online, known in sorted(set(server.replicas())):
        replicas = Replicas(online, known, redis.awaited_replicas, bool(redis.sentinels or redis.cluster))
        yield from diagnose(REPLICATION, replicas)


def _print(found: Iterable[Diagnosis]) -> None:
    for one in found:
        level = click.style(one.level, fg=_COLOURS[one.level], bold=out.is_terminal())
        name = f" [{one.name}]" if one.name else ""
        told = out.wrap(f"{one.level:<4}  {one.subject}: {one.sentence}{name}", indent=6)
        click.echo(told.replace(one.level, level, 1))
        if one.action:
            click.echo(out.wrap(f"      → {one.action}", indent=8))
