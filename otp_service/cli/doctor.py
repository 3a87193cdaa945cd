"""otp-service doctor: checks of a running installation."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import click

from otp_service.bootstrap import LEDGER_BEHIND, LEDGER_OF_OTHER_KEY, install
from otp_service.cli.output import (
    counted,
    duration,
    in_json,
    is_terminal,
    members,
    moment,
    note,
    reading,
    unread_environment,
    wrapped,
)
from otp_service.domain.applications import Application, ClientIp
from otp_service.domain.countries import Approval, Registration
from otp_service.domain.guard import RULES, Mode, Ruleset
from otp_service.domain.verification import GRACE, LONGEST_LIFE, BreakerState, Channel, GatewayHealth
from otp_service.errors import (
    ConfigurationError,
    LedgerMismatchError,
    LedgerUnavailableError,
    RefusalName,
    StartRefusal,
    StartRefusedError,
    StoreUnavailableError,
)
from otp_service.gateways.base import ReportsReceipts
from otp_service.services.context import Context
from otp_service.services.mirror import MISMATCHES, MirrorState
from otp_service.services.verifications import today
from otp_service.settings import Settings, load_settings
from otp_service.settings.sections import canonical, is_local, leads_elsewhere
from otp_service.settings.startup_checks import SHORTEST, is_sample, provider_secrets, refusals, unsafe_lines
from otp_service.store.mirror import NO_EVICTION, Fence, eviction_refusal, installation_refusal
from otp_service.store.outbox import reasons_of
from otp_service.store.scripts import Hindrance, hindrance_of

NOWHERE = "ZZ"
"""Stands for a country that no route names: what a caller with all countries may also send to."""


_MINUTE = 60


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    subject: str
    sentence: str
    action: str = ""
    """What to do; empty when all is well."""
    name: str = ""
    """Under which docs/refusals.md explains it, where a start is refused for it."""


def refused(refusal: StartRefusal, level: Level = Level.FAIL) -> Finding:
    """Return what refuses a start; a warning where it does so in production only, and this is none."""
    return Finding(level, refusal.place, refusal.sentence, refusal.action, refusal.name)


def settings_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what the settings alone tell of what works with what."""
    yield from _profile(settings)
    yield from _purposes(settings)
    yield from _applications(settings)
    yield from _gateways(settings)
    yield from _policies(settings)
    yield from _routes(settings)
    yield from _http(settings)


def _profile(settings: Settings) -> Iterator[Finding]:
    if settings.profile:
        yield Finding(Level.OK, "profile", f"{settings.profile} is in force.")


def _purposes(settings: Settings) -> Iterator[Finding]:
    for name, purpose in settings.purposes.items():
        subject, delay = f"purposes.{name}", purpose.resend_delays[0]
        if purpose.max_sends > 1 and purpose.ttl <= delay:
            yield Finding(
                Level.WARN,
                subject,
                f"No message is ever sent again: the wait for it is {delay} s, and the code lives {purpose.ttl} s.",
                "Shorten resend_delays, lengthen ttl, or set max_sends to 1.",
            )
        if purpose.ttl < _MINUTE:
            yield Finding(
                Level.WARN,
                subject,
                f'A code lives {purpose.ttl} s: messages say "less than a minute", and many arrive later.',
                f"Set ttl to {_MINUTE} or more.",
            )


def _applications(settings: Settings) -> Iterator[Finding]:
    for name, application in settings.core_applications.items():
        yield from application_findings(settings, name, application)


def application_findings(settings: Settings, name: str, application: Application) -> Iterator[Finding]:
    """Yield what is wrong with an application, wherever it is kept."""
    subject = f"applications.{name}"
    if application.home is None:
        yield Finding(
            Level.WARN,
            subject,
            "It has no home: all its countries count as abroad, where little passes, and may be closed altogether.",
            "Set home to the country that most of its traffic goes to.",
        )
    if application.client_ip is ClientIp.CONNECTION and settings.production and not settings.http.trusted_proxies:
        yield Finding(
            Level.WARN,
            subject,
            'With client_ip = "connection" and no trusted proxy, all who come through a proxy count as one.',
            "Set http.trusted_proxies to the number of proxies before the service.",
        )


def ceiling_findings(name: str, ruleset: Ruleset) -> Iterator[Finding]:
    """Yield that an application may spend without end, wherever it is kept."""
    if not ruleset.ceilings and not any(ruleset.ceilings_of_countries.values()):
        action = 'Set a ceiling such as day = "4000".'
        yield Finding(Level.WARN, f"applications.{name}.spend", "Nothing bounds what it may spend.", action)


def _gateways(settings: Settings) -> Iterator[Finding]:
    for name, gateway in settings.gateways.items():
        subject = f"gateways.{name}"
        yield Finding(Level.OK, subject, f"The settings of this {gateway.kind} gateway are complete.")
        reports = issubclass(gateway.gateway_class, ReportsReceipts) and gateway.settings.takes_receipts
        if reports and not gateway.gateway_class.development_only and not settings.http.public_url:
            yield Finding(
                Level.WARN,
                subject,
                "It could report what became of a message, but does not know where.",
                "Set http.public_url.",
            )


def _policies(settings: Settings) -> Iterator[Finding]:
    for name, policy in settings.policies.items():
        subject = f"policies.{name}"
        yield Finding(Level.OK, subject, f"The settings of this {policy.kind} policy are complete.")


def _routes(settings: Settings) -> Iterator[Finding]:
    yield from _passed_over(settings)
    gaps = list(_gaps(settings))
    yield from gaps
    if not gaps and settings.applications:
        yield Finding(Level.OK, "routes", "Every application reaches every country of its list.")


def _passed_over(settings: Settings) -> Iterator[Finding]:
    """Yield the gateways that stand in a route for nothing."""
    offered = {channel for purpose in settings.core_purposes.values() for channel in purpose.channels}
    for position, route in enumerate(settings.routes):
        channels = set(route.channels) or offered
        for name in route.gateways:
            if not channels & settings.core_routes.channels_of[name]:
                yield Finding(
                    Level.WARN,
                    f"routes.{position}",
                    f"The gateway {name} is never asked: it carries none of {', '.join(sorted(channels))}.",
                    "Take it out of the route, or correct the route's channels.",
                )


def _gaps(settings: Settings) -> Iterator[Finding]:
    for name, application in settings.core_applications.items():
        yield from gaps_of(settings, name, application)


def gaps_of(settings: Settings, name: str, application: Application) -> Iterator[Finding]:
    """Yield the countries of an application that no gateway reaches."""
    for purpose in sorted(application.purposes):
        channels = settings.core_purposes[purpose].channels
        for channel in channels:
            missing = _unreached(settings, application.countries, purpose, channel)
            if missing:
                yield Finding(
                    Level.FAIL if channel is channels[0] else Level.WARN,
                    f"applications.{name}",
                    f"No gateway carries {channel} for {purpose} to {', '.join(missing)}.",
                    "Add a route or a gateway, or take the channel out of the purpose.",
                )


def _unreached(settings: Settings, countries: frozenset[str] | None, purpose: str, channel: Channel) -> list[str]:
    asked = countries or {NOWHERE}
    missing = [c for c in sorted(asked) if not settings.core_routes.gateways_for(c, purpose, channel)]
    return ["some countries"] if missing == [NOWHERE] else missing


def _http(settings: Settings) -> Iterator[Finding]:
    http = settings.http
    if settings.production and http.public_url and http.public_url.startswith("http://"):
        yield Finding(
            Level.WARN, "http.public_url", "Receipts come in without encryption.", "Use the https:// address."
        )
    if settings.production and http.metrics_on_same_port:
        yield Finding(
            Level.WARN,
            "http.metrics_on_same_port",
            "Everybody who reaches the service reads its metrics.",
            "Set it to false and use http.metrics_port.",
        )


Ask = Callable[[str], str | None]
"""Returns a setting of the server; ``None`` when it does not tell."""

OLDEST = {"Redis": (7, 2), "Valkey": (8, 0)}
LISTPACK = "hash-max-listpack-value"
LONGEST_VALUE = 128
"""Bytes that one value of a record may have; longer than the server's limit, the record takes three times the room."""
TOLERATED_SKEW = 1.0
"""Seconds between this host's clock and Redis' beyond which what this host shows may be wrong."""


_HINDRANCES = {
    Hindrance.SILENT: ("does not answer", "Start it, or correct redis.url."),
    Hindrance.USER: ("refuses the user or the password", "Correct them in redis.url."),
    Hindrance.RIGHTS: (
        "refuses a command to this user",
        "Give the user the rights that are missing (ACL).",
    ),
    Hindrance.MEMORY: ("is full", "Give it more memory (maxmemory)."),
    Hindrance.REPLICA: ("is a replica and takes no writes", "Name its primary in redis.url."),
    Hindrance.DATABASE: ("has no database of this number", "Correct the number at the end of redis.url."),
    Hindrance.STRANGER: ("does not answer as Redis does", "Correct redis.url: something else listens there."),
}


def silence_finding(settings: Settings, silent: StoreUnavailableError) -> Finding:
    """Judge a server that is not available."""
    what, action = _HINDRANCES[hindrance_of(silent)]
    return Finding(Level.FAIL, "redis.url", f"Redis at {settings.redis.shown_url} {what}.", action)


def version_finding(version: str) -> Finding:
    """Judge ``Redis 7.2.4`` or ``Valkey 8.1.0``."""
    name, _, number = version.partition(" ")
    found = re.match(r"(\d+)\.(\d+)", number)
    oldest = OLDEST.get(name)
    if not found or not oldest:
        return Finding(Level.WARN, "server", f"{version} is not known.", "Use Redis 7.2 or Valkey 8, or newer.")
    if (int(found[1]), int(found[2])) < oldest:
        return Finding(Level.FAIL, "server", f"{version} is too old.", "Use Redis 7.2 or Valkey 8, or newer.")
    return Finding(Level.OK, "server", f"{version} answers.")


def setting_findings(ask: Ask) -> Iterator[Finding]:
    """Yield what the server's settings mean for codes and budgets."""
    yield _eviction(ask("maxmemory-policy"))
    yield _persistence(ask("appendonly"), ask("appendfsync"))
    yield _listpack(ask(LISTPACK))


def _eviction(policy: str | None) -> Finding:
    subject = "maxmemory-policy"
    if policy is None:
        return _untold(subject, "it must be noeviction")
    if policy != NO_EVICTION:
        return refused(eviction_refusal(policy))
    return Finding(Level.OK, subject, "noeviction: no counter is ever evicted.")


_FSYNC = {
    "always": (Level.OK, "Everything that was accepted survives a crash."),
    "everysec": (Level.OK, "A crash loses what was accepted and counted in the last second, at most two."),
    "no": (Level.WARN, "A crash loses what the operating system had not written yet, often half a minute."),
}


def _persistence(appendonly: str | None, fsync: str | None) -> Finding:
    subject = "appendonly"
    if appendonly is None:
        return _untold(subject, "it should be yes")
    if appendonly != "yes":
        return Finding(
            Level.WARN,
            subject,
            "Without an append-only file a restart loses accepted messages and forgets every budget.",
            "Set appendonly yes.",
        )
    level, sentence = _FSYNC.get(fsync or "", (Level.WARN, f"appendfsync {fsync} is not known."))
    return Finding(level, "appendfsync", sentence, "" if level is Level.OK else "Set appendfsync everysec.")


def _listpack(value: str | None) -> Finding:
    if value is None:
        return _untold(LISTPACK, f"it should be {LONGEST_VALUE} or more")
    if int(value) < LONGEST_VALUE:
        return Finding(
            Level.WARN, LISTPACK, f"With {value} a record takes about three times the room.", f"Set {LISTPACK} 1024."
        )
    return Finding(Level.OK, LISTPACK, f"{value}: records stay small.")


def _untold(subject: str, should: str) -> Finding:
    return Finding(Level.WARN, subject, f"The server does not tell; {should}.", "Look at your provider's settings.")


def clock_finding(skew: float) -> Finding:
    """Judge by how many seconds this host's clock is ahead of the server's."""
    if abs(skew) <= TOLERATED_SKEW:
        return Finding(Level.OK, "clock", "This host's clock agrees with the server's.")
    side = "ahead of" if skew > 0 else "behind"
    return Finding(
        Level.WARN,
        "clock",
        f"This host's clock is {abs(skew):.1f} s {side} the server's. The service counts by the server's only, "
        "but 'limits show' and the times of log lines are off.",
        "Synchronise both hosts (NTP).",
    )


def installation_finding(differing: Sequence[str], *, claimed: bool) -> Finding:
    """Judge by the names of what the server was first used with otherwise, and by whether it was used at all."""
    if differing:
        return refused(installation_refusal(differing))
    known = "It is the one that the server knows." if claimed else "The server is new; the first start claims it."
    return Finding(Level.OK, "installation", known)


def fence_findings(fence: Fence | None) -> Iterator[Finding]:
    """Judge the fence that stands; where there is none nothing needs to be said."""
    if fence is None:
        return
    sentence = f"Fenced: what was started until {moment(fence.at)} UTC is expired."
    if fence.is_new:
        yield Finding(Level.WARN, "fence", f"{sentence} Limits on messages are halved until {moment(fence.until)} UTC.")
    else:
        yield Finding(Level.OK, "fence", sentence)


def worker_finding(age: int | None) -> Finding:
    """Judge the seconds since a worker was last seen."""
    if age is None:
        return Finding(Level.WARN, "worker", "No worker was seen lately: nothing is delivered.", "otp-service worker")
    return Finding(Level.OK, "worker", f"A worker was seen {age} s ago.")


_KEYS = frozenset({RefusalName.KEY_MISSING, RefusalName.KEY_UNFIT, RefusalName.SAMPLE_KEY, RefusalName.KEY_USED_TWICE})


def safety_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what refuses a start with these settings, and what is allowed although it is not safe."""
    reasons = refusals(settings)
    yield from map(refused, reasons)
    if not any(reason.name in _KEYS for reason in reasons):
        yield _keys(settings)
    yield from _lines(settings)
    yield from _protocols(settings)
    yield from _exceptions_without_use(settings)
    yield from _redis_password(settings)
    yield from _short_secrets(settings)
    yield from _protections(settings) if settings.production else ()


def _keys(settings: Settings) -> Finding:
    """Name the root keys, and tell when those that make nothing new may go."""
    active, *others = settings.core_keyring().root_ids
    sentence = f"The pseudonym key is there. New verifications are made with the root key {active}"
    if not others:
        return Finding(Level.OK, "keys", f"{sentence}.")
    kept = duration(max((purpose.ttl for purpose in settings.purposes.values()), default=LONGEST_LIFE) + GRACE)
    return Finding(
        Level.OK,
        "keys",
        f"{sentence}; those of {', '.join(others)} are still known.",
        f"To retire one: it may go {kept} after the last process was reloaded with {active} in front.",
    )


def _lines(settings: Settings) -> Iterator[Finding]:
    for line in unsafe_lines(settings):
        if line.host in settings.plaintext_hosts:
            yield _exception(line.refusal.place, line.host, line.how)
        elif not settings.production:
            yield refused(line.refusal, Level.WARN)


def _protocols(settings: Settings) -> Iterator[Finding]:
    """Yield the gateways whose own protocol is not encrypted."""
    for name, host in _plain_protocols(settings).items():
        place = f"gateways.{name}"
        if host in settings.plaintext_hosts:
            yield _exception(place, host, "without encryption")
        else:
            kind = settings.gateways[name].kind
            yield Finding(
                Level.WARN,
                place,
                f"{kind} encrypts nothing by itself: numbers and codes can be read on the way to {host}.",
                "Set tls = true where the other end offers it; else use a private line or a VPN, and name the host in "
                "plaintext_hosts.",
            )


def _exception(place: str, host: str, how: str) -> Finding:
    return Finding(
        Level.WARN,
        place,
        f"{host} is reached {how}, which plaintext_hosts allows.",
        "Make sure that the network on the way is yours alone, or use TLS with a certificate that is verified and take "
        "the host out of the list.",
    )


def _exceptions_without_use(settings: Settings) -> Iterator[Finding]:
    used = {line.host for line in unsafe_lines(settings)} | set(_plain_protocols(settings).values())
    for host in settings.plaintext_hosts:
        if host not in used:
            yield Finding(
                Level.WARN,
                "plaintext_hosts",
                f"Nothing is reached at {host} without encryption.",
                "Take it out of the list, before something is.",
            )


def _plain_protocols(settings: Settings) -> dict[str, str]:
    """Return the other hosts that a gateway's own protocol reaches without encryption, by the gateways' names."""
    found = {name: one.settings.plaintext_host for name, one in settings.gateways.items()}
    return {name: canonical(host) for name, host in found.items() if host and not is_local(host)}


def _redis_password(settings: Settings) -> Iterator[Finding]:
    url = settings.redis.url.get_secret_value()
    if leads_elsewhere(url) and not urlsplit(url).password:
        yield Finding(
            Level.WARN,
            "redis.url",
            "Redis is on another host and asks for no password.",
            "Give the service a user of its own (ACL), with the commands that it needs only.",
        )


def _short_secrets(settings: Settings) -> Iterator[Finding]:
    for place, secret in provider_secrets(settings) if settings.production else ():
        if len(secret) < SHORTEST and not is_sample(secret):
            yield Finding(
                Level.WARN,
                place,
                f"It has fewer than {SHORTEST} characters: it can be guessed.",
                "Ask the provider for a longer one, if its system takes any.",
            )


def _protections(settings: Settings) -> Iterator[Finding]:
    """Yield what guards against abuse and loss, and does not: somebody may have chosen that, and should be reminded."""
    idle = {rule.id: settings.guard.mode(rule.id) for rule in RULES.values() if rule.mode is Mode.ENFORCE}
    if told := [f"{rule} ({mode})" for rule, mode in idle.items() if mode is not Mode.ENFORCE]:
        action = "Enforce them, once you have seen what they would refuse: otp-service guard status"
        yield Finding(Level.WARN, "guard.modes", f"These rules refuse nothing: {', '.join(told)}.", action)
    for name, ruleset in settings.core_rulesets.items():
        yield from ceiling_findings(name, ruleset)
    if not settings.audit.export:
        yield Finding(
            Level.WARN,
            "audit.export",
            "Heads of the audit chain stay here: who changes the database can cut its end off unnoticed.",
            "Hand them out to where administrators of the database cannot change them, such as syslog://HOST:PORT.",
        )


_LATE = 10_000
"""Events that wait to be recorded from which on somebody should look."""
_SUBJECT = "ledger"
_SUPERUSER = Finding(
    Level.WARN,
    "ledger.url",
    "The database's role is a superuser: who takes over a process takes the database server, and its host, too.",
    "Use a role that owns the ledger's database and nothing else (CREATE ROLE ... LOGIN, ALTER DATABASE ... OWNER TO).",
)


def ledger_findings(settings: Settings, context: Context) -> Iterator[Finding]:
    """Yield what the ledger and its mirror tell; nothing is written, nor is a file made."""
    yield from _one_host(settings)
    try:
        if settings.production and context.ledger.database.is_superuser():
            yield _SUPERUSER
        yield from _ledger(settings, context)
    except LedgerMismatchError:
        yield refused(LEDGER_OF_OTHER_KEY, Level.FAIL)
    except LedgerUnavailableError as away:
        yield Finding(
            Level.FAIL, "ledger.url", f"{settings.ledger.shown_url}: {away}", "Start it, or correct ledger.url."
        )


def _one_host(settings: Settings) -> Iterator[Finding]:
    elsewhere = leads_elsewhere(settings.redis.url.get_secret_value())
    if settings.ledger.shown_url.startswith("sqlite") and elsewhere:
        yield Finding(
            Level.WARN,
            "ledger.url",
            "The ledger is a file of this host, and Redis is on another: processes elsewhere have another ledger.",
            "Use postgresql:// unless all processes run here.",
        )


def _ledger(settings: Settings, context: Context) -> Iterator[Finding]:
    if not context.ledger.database.there():
        yield Finding(Level.OK, _SUBJECT, "The ledger is still to be made; the first process does it.")
        return
    if context.ledger.behind():
        yield refused(LEDGER_BEHIND, Level.WARN if settings.ledger.upgrade else Level.FAIL)
        return
    yield from standing(context)


def standing(context: Context) -> Iterator[Finding]:
    """Yield how far the mirror in Redis, and the recorder, are behind; raises `LedgerUnavailableError`."""
    yield mirror_finding(context)
    yield _recorder(context.store.events.unrecorded())


def mirror_finding(context: Context) -> Finding:
    """Return how far the mirror in Redis has come; raises `LedgerUnavailableError`."""
    last, (place, closed) = context.ledger.mirrored.head(), context.store.mirror.head()
    if place is None:
        return _no_mirror(context.ledger.mirrored.was_mirrored() and not context.reflection.rebuilds_lost)
    if place.identity != last.identity:
        return Finding(
            Level.FAIL, _SUBJECT, MISMATCHES[MirrorState.FOREIGN],
            "Correct ledger.url, or go by this ledger from now on: otp-service ledger rebuild.",
        )  # fmt: skip
    if closed or not context.ledger.mirrored.has(place):
        return Finding(
            Level.FAIL, _SUBJECT, f"{MISMATCHES[MirrorState.DIVERGED]} Nothing is sent.",
            "Restore a newer copy or import the opt-outs that are missing, and then: otp-service ledger rebuild.",
        )  # fmt: skip
    if behind := context.ledger.mirrored.head().sequence - place.sequence:
        return Finding(Level.WARN, _SUBJECT, f"Redis is {counted(behind, 'change')} behind.", "Look again.")
    return Finding(Level.OK, _SUBJECT, f"The ledger answers, and {known(last.sequence)}")


def _no_mirror(lost: bool) -> Finding:  # noqa: FBT001 - its only argument
    if lost:
        return Finding(
            Level.FAIL, _SUBJECT, f"{MISMATCHES[MirrorState.LOST]} Nothing is sent.",
            "Where no older copy of the ledger was restored: otp-service ledger rebuild, and otp-service store fence.",
        )  # fmt: skip
    return Finding(
        Level.WARN, _SUBJECT, "Redis knows nothing of this ledger yet: starts are refused.",
        "It is mirrored when a process starts; if it stays so: otp-service ledger rebuild.",
    )  # fmt: skip


def known(changes: int) -> str:
    """Return the sentence that Redis is up to date."""
    return f"Redis knows all of it (consents and suppressions: {counted(changes, 'change')})."


def _recorder(unrecorded: int) -> Finding:
    if unrecorded >= _LATE:
        return Finding(
            Level.WARN,
            _SUBJECT,
            f"{counted(unrecorded, 'event')} are not recorded yet.",
            "Start more workers, or a faster database.",
        )
    return Finding(Level.OK, _SUBJECT, f"Events that are still to be recorded: {unrecorded}.")


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


def access_findings(settings: Settings, context: Context, now: int) -> Iterator[Finding]:
    """Yield who could not call at ``now`` (milliseconds since the epoch), and what is wrong with the ledger's.

    Nothing, where the ledger cannot be asked: whether it is away or still to be made, `ledger_findings` tells.
    """
    try:
        context.directory.refresh()
    except LedgerUnavailableError:
        return
    entries = context.directory.entries
    calling = {key.application for key in entries.keys.values() if key.is_valid(now)}
    if not entries.applications:
        yield Finding(Level.WARN, "applications", "There is none.", "otp-service application add NAME FILE")
    for name, application in entries.applications.items():
        if name not in calling:
            yield Finding(Level.WARN, f"applications.{name}", "It has no API key.", f"otp-service key add {name}")
        if not context.directory.is_configured(name):
            yield from application_findings(settings, name, application)
            yield from gaps_of(settings, name, application)
            yield from ceiling_findings(name, entries.rulesets[name].ruleset) if settings.production else ()


_RENEW = "Renew it where it was registered, and correct valid_until."


def registration_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what ends, or has ended."""
    day, found = today(), settings.core_clearance.registrations
    ending = [one for one in found if one.ends_soon(day)]
    for one in ending:
        subject = f"{'approvals' if isinstance(one, Approval) else 'senders'}.{one.name}"
        if one.is_over(day):
            sentence = f"It ended on {one.valid_until}: no message to {one.country} goes out by it."
            yield Finding(Level.FAIL, subject, sentence, _RENEW)
        else:
            yield Finding(Level.WARN, subject, _ending(one), _RENEW)
    if found and not ending:
        yield Finding(Level.OK, "registrations", "No sender and no approval ends within a month.")


def _ending(one: Registration) -> str:
    return f"It is good until {one.valid_until}, its last day; then no message to {one.country} goes out by it."


_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
_UNASKED = Finding(
    Level.WARN,
    "server",
    "Neither Redis nor the ledger was asked: nothing connects to them while the settings refuse to start.",
    "Mend what has failed, and look again.",
)


@click.command()
@reading
def doctor(path: Path | None) -> None:
    """Say what is wrong with the set-up.

    Looks at settings, keys, gateways and Redis. The exit status is 1 when something must be mended.
    """
    findings = list(_examine(path))
    if not in_json(findings=list(map(members, findings))):
        _print(findings)
    if any(finding.level is Level.FAIL for finding in findings):
        if unread := unread_environment():
            note(unread)
        raise SystemExit(1)


def _examine(path: Path | None) -> Iterator[Finding]:
    try:
        settings = load_settings(path, to_start=False)
    except ConfigurationError as faulty:
        for line in str(faulty).splitlines():
            subject, _, sentence = line.partition(": ")
            yield Finding(Level.FAIL, subject, sentence)
        return
    unsafe = list(safety_findings(settings))
    yield from unsafe
    yield from settings_findings(settings)
    yield from registration_findings(settings)
    if any(finding.level is Level.FAIL for finding in unsafe):
        yield _UNASKED  # a password must not go where it could be read
    else:
        yield from _server(settings)


def _server(settings: Settings) -> Iterator[Finding]:
    """Yield what the server tells. Nothing is written: looking must not claim a Redis for this installation."""
    try:
        context = install(settings).context
        server = context.store.server
        yield version_finding(server.version())
        yield from setting_findings(server.setting)
        yield clock_finding(context.store.limits.clock_skew())
        yield installation_finding(server.differing(), claimed=server.claimed())
        yield from fence_findings(context.store.fences.standing())
        yield worker_finding(server.worker_age())
        yield from ledger_findings(settings, context)
        yield from access_findings(settings, context, time.time_ns() // 1_000_000)
        yield from delivery_findings(context)
    except StartRefusedError as unsafe:
        yield from map(refused, unsafe.refusals)
    except ConfigurationError as unusable:
        yield Finding(Level.FAIL, "settings", str(unusable))
    except StoreUnavailableError as silent:
        yield silence_finding(settings, silent)


def _print(findings: Iterable[Finding]) -> None:
    for finding in findings:
        level = click.style(finding.level, fg=_COLOURS[finding.level], bold=is_terminal())
        name = f" [{finding.name}]" if finding.name else ""
        told = wrapped(f"{finding.level:<4}  {finding.subject}: {finding.sentence}{name}", indent=6)
        click.echo(told.replace(finding.level, level, 1))
        if finding.action:
            click.echo(wrapped(f"      → {finding.action}", indent=8))
