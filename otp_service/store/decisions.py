"""The decisions of the guard: what its rules refused, or would have, and what changed for all."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from otp_service.store import keys
from otp_service.store.connection import answered, now_of
from otp_service.store.entries import entry_of, name_of
from otp_service.store.paging import pages_of
from otp_service.store.retention import Retention
from otp_service.store.scripts import ScriptRunner

LIFTED = "lifted"
"""Mode of what tells that somebody lifted what a rule held back."""
PAGE = 1000
"""Decisions that are read at once."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found."""

    rule: str
    used: float
    most: float
    window: int
    """Milliseconds in which so much may be; 0 where it counts what comes in a row."""
    wait: int
    """Milliseconds."""
    mode: str


@dataclass(frozen=True, slots=True)
class Decision:
    """An entry of the stream."""

    id: str
    """Bucket, a colon, and the entry of the bucket's stream."""
    rule: str
    """The rule that decided."""
    mode: str
    """``enforce``: it refused; ``record_only``: it would have; or what changed: ``open``, ``closed``, ``alarm``,
    ``lifted``."""
    kind: str
    """What was asked for: ``start``, ``resend``, ``fallback``, ``check``; a further ``dispatch``; or ``change``."""
    lane: str
    """``known`` or ``strange``: whether the context was known to the number; empty where it makes no difference."""
    until: int
    """Milliseconds since the epoch; 0 where waiting does not help."""
    verification: str
    """Empty where none was made."""
    application: str
    purpose: str
    country: str
    findings: tuple[Finding, ...]

    @property
    def entry(self) -> str:
        """The entry of the bucket's stream."""
        return self.id.partition(":")[2]

    @property
    def at(self) -> int:
        """When: milliseconds since the epoch, by Redis' clock."""
        return int(self.entry.partition("-")[0])


class Decisions:
    """Reads the decisions, and notes those that are made without a script."""

    def __init__(
        self, client: redis.Redis, scripts: ScriptRunner, buckets: tuple[str, ...], retention: Retention
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._buckets = buckets
        self._kept = retention

    def note(self, bucket: str, rule: str, application: str, purpose: str, country: str) -> str:
        """Note that a rule refused a start by itself; return the identifier of the decision."""
        return self._note(bucket, rule, application, purpose, country, "enforce")

    def lifted(self, bucket: str, rule: str, application: str = "", country: str = "") -> None:
        """Note that somebody lifted what a rule held back."""
        self._note(bucket, rule, application, "", country, LIFTED)

    def _note(self, bucket: str, rule: str, application: str, purpose: str, country: str, mode: str) -> str:
        kept = (self._kept.decisions, self._kept.milliseconds)
        made = self._scripts.run("note", (keys.decisions(bucket),), (*kept, rule, application, purpose, country, mode))
        return name_of(bucket, made.decode())

    def now(self) -> int:
        """Return the time by Redis' clock, in milliseconds."""
        with answered():
            return now_of(self._client)

    def find(self, name: str) -> Decision | None:
        """Return a decision by its identifier; ``None`` when it is not kept (any more)."""
        if not (place := entry_of(name, self._buckets)):
            return None
        bucket, entry = place
        with answered():
            found: Any = self._client.xrange(keys.decisions(bucket), entry, entry)
        return decision_of(bucket, found[0]) if found else None

    def latest(self, most: int) -> Iterator[Decision]:
        """Yield the decisions of all buckets, the newest of each first, at most so many of each."""
        for bucket in self._buckets:
            end, left = "+", most
            while left > 0:
                with answered():
                    entries: Any = self._client.xrevrange(keys.decisions(bucket), end, "-", count=min(PAGE, left))
                yield from (decision_of(bucket, entry) for entry in entries)
                if len(entries) < min(PAGE, left):
                    break
                end, left = "(" + entries[-1][0].decode(), left - len(entries)

    def of_verification(self, bucket: str, verification_id: str) -> tuple[Decision, ...]:
        """Return the decisions on a verification, the first ones first. All that is kept is read."""
        kept = (one for entries in pages_of(self._client, keys.decisions(bucket), size=PAGE) for one in entries)
        found = (decision_of(bucket, entry) for entry in kept)
        return tuple(one for one in found if one.verification == verification_id)


def decision_of(bucket: str, entry: tuple[bytes, Mapping[bytes, bytes]]) -> Decision:
    """Return a decision as it is read from a bucket's stream."""
    name, raw = entry
    fields = {key.decode(): value.decode(errors="replace") for key, value in raw.items()}
    return Decision(
        id=name_of(bucket, name.decode()),
        rule=fields.get("rule", ""),
        mode=fields.get("mode", ""),
        kind=fields.get("kind", ""),
        lane=fields.get("lane", ""),
        until=int(fields.get("until", "0")),
        verification=fields.get("id", ""),
        application=fields.get("application", ""),
        purpose=fields.get("purpose", ""),
        country=fields.get("country", ""),
        findings=tuple(_finding(text) for text in fields.get("findings", "").split(",") if text),
    )


def _finding(text: str) -> Finding:
    rule, used, most, window, wait, mode = text.split(" ")
    return Finding(rule, float(used), float(most), int(window), int(wait), mode)
