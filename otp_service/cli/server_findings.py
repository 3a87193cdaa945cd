"""What ``doctor`` finds about the Redis or Valkey server."""

import re
from collections.abc import Callable, Iterator, Sequence

from otp_service.cli.findings import Finding, Level, refused
from otp_service.cli.output import moment
from otp_service.errors import StoreUnavailableError
from otp_service.settings import Settings
from otp_service.store.mirror import NO_EVICTION, Fence, eviction_refusal, installation_refusal
from otp_service.store.scripts import Hindrance, hindrance_of

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
