"""What every key in Redis holds, how long it lives and who reads it.

The document docs/data.md is made from that, and the tests hold every key that they find against it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from otp_service.domain import keyring
from otp_service.domain.verification import LONGEST_LIFE
from otp_service.store import inbox, keys
from otp_service.store.guard import BY_HAND
from otp_service.store.mirror import NOTHING_KEPT, STANDS
from otp_service.store.outbox import EARLY

_MINUTE: Final = 60
_DAY: Final = 24 * 3600
_GRACE: Final = 10 * _MINUTE
_SECONDS: Any = "<seconds>"
"""Stands for the length of a window, in the place of a number."""


class Personal(StrEnum):
    """What of a person is in it."""

    NOTHING = "nothing"
    PSEUDONYM = "pseudonym"
    """Numbers or networks under a keyed name."""
    SEALED = "sealed"
    """Numbers, texts or payments, encrypted under a key of the verification's own."""


@dataclass(frozen=True, slots=True)
class Spans:
    """What the lives of keys depend on in an installation, in seconds."""

    window: int
    """The longest window of any limit."""
    streams: int
    """``streams.retention_days``."""
    guard: Mapping[str, int]
    """How long the guard keeps each of its parts."""


@dataclass(frozen=True, slots=True)
class Life:
    """How long a key lives."""

    words: str
    """For people; ``{}`` stands for the longest life."""
    longest: Callable[[Spans], int] | None = None
    """Seconds; ``None`` where it has no TTL."""
    may_stay: bool = False
    """Whether it may have none, or a longer one, all the same."""

    def fits(self, milliseconds: int, spans: Spans) -> bool:
        """Tell whether a TTL, as ``PTTL`` answers it, is that of such a key."""
        if milliseconds == -1 or self.may_stay:
            return self.longest is None or self.may_stay
        return self.longest is not None and 0 <= milliseconds <= 1000 * self.longest(spans)


@dataclass(frozen=True)
class KeyFamily:
    """Keys that are built alike, and hold the same."""

    shapes: tuple[str, ...]
    """As `keys` builds them, with ``bb`` for the bucket and ``<…>`` for what differs."""
    type: str
    """As ``TYPE`` answers."""
    personal: Personal
    life: Life
    read_by: str
    holds: str

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        exact = (re.escape(shape).replace(r"\{bb\}", r"\{[0-9a-f]{2}\}") for shape in self.shapes)
        return re.compile("|".join(re.sub("<[^>]+>", "[^:/{}]*", shape) for shape in exact))

    def has(self, key: str) -> bool:
        """Tell whether a key is one of them."""
        return self._pattern.fullmatch(key) is not None


def families_of(key: str) -> tuple[KeyFamily, ...]:
    """Return the families that a key is one of: exactly one, if it is ours."""
    return tuple(family for family in FAMILIES if family.has(key))


def _after(part: str, words: str) -> Life:
    """Return the life of a part of the guard's."""
    return Life(words, lambda spans: spans.guard[part])


_N, _P, _S = Personal.NOTHING, Personal.PSEUDONYM, Personal.SEALED
_FOR_EVER = Life("for ever")
_LANES = Life("no TTL; an empty lane is forgotten within an hour")
_RECORD = Life("life of the code + 10 min", lambda _: LONGEST_LIFE + _GRACE)
_STREAM = Life("`streams.retention_days` after the last write", lambda spans: spans.streams)
_WINDOW = Life("the window", lambda spans: spans.window)
_TWO_WINDOWS = Life("twice the window", lambda spans: 2 * spans.window)

# fmt: off
FAMILIES: Final = (
    KeyFamily((keys.INSTALLATION,), "hash", _N, _FOR_EVER, "all processes",
              "fingerprint of the pseudonym key, number of bucket bits"),
    KeyFamily((keys.WORKER,), "string", _N, Life("15 s", lambda _: _MINUTE), "API (`/readyz`), `doctor`",
              "when a worker was last seen, and its name"),
    KeyFamily((keys.MIRROR,), "hash", _N, _FOR_EVER, "API, worker",
              "which ledger the mirror is built of, and how far it has come"),
    KeyFamily((keys.MIRROR_BUILDER,), "string", _N, Life("30 s", lambda _: _MINUTE), "API, worker",
              "who builds the mirror"),
    KeyFamily((keys.mirrored("bb", "<pseudonym>"),), "hash", _P,
              Life("as long as anything holds of the number; then a day",
                   lambda _: NOTHING_KEPT // 1000, may_stay=True),
              "API, worker", "who may not write to a number, for whom it is frozen or was lately, and its consents"),
    KeyFamily((keys.FENCE,), "hash", _N, Life("a day", lambda _: STANDS // 1000), "API, worker, `doctor`",
              "when the store was fenced: what was started before is expired; until when send limits are halved"),
    KeyFamily((keys.REPLIES,), "list", _S, Life("10 min", lambda _: inbox.LATEST), "worker",
              "replies to what people wrote back, that are still to be sent"),
    KeyFamily((keys.replied("bb", "<application>", "<pseudonym>", "<meaning>"),), "string", _P,
              Life("a day", lambda _: inbox.APART),
              "API, worker", "that something which a number wrote was answered"),
    KeyFamily((keys.record("bb", "<id>"),), "hash", _S, _RECORD, "API, worker, `find`",
              "the record: status, policy, tag, counts, sealed number, mask and details, dispatches"),
    KeyFamily((keys.dispatch("bb", "<dp id>"),), "hash", _N, _RECORD, "API (receipts)",
              "record and slot of a dispatch, gateway"),
    KeyFamily((keys.idempotency("bb", "<application>", "<fingerprint>"),), "hash", _N,
              Life("a start's 24 h; others as the record", lambda _: keyring.IDEMPOTENCY_SECONDS), "API",
              "what an idempotency key stood for, and its answer"),
    KeyFamily((keys.lane("bb", "<kind>", "<application>", "<country>", "<channel>"),), "stream", _N,
              Life("no TTL; trimmed by age at each write, its length bounded by `backlog-full`; deleted within an hour "
                   "once it is empty"),
              "worker", "a lane of the outbox: the messages to deliver, which name their records, and where traces "
              "are on the span that queued them"),
    KeyFamily((keys.lanes("bb"),), "hash", _N, _LANES, "API, worker",
              "keys of all lanes, and how many messages were ever put into each"),
    KeyFamily((keys.ready("bb"),), "set", _N, _LANES, "worker",
              "keys of the lanes that may hold jobs that no worker has taken"),
    KeyFamily((keys.wake("bb"),), "list", _N, Life("a minute", lambda _: _MINUTE), "worker",
              "wakes a worker for each of its members, 64 at most"),
    KeyFamily((keys.delayed("bb"),), "zset", _N, _STREAM, "worker", "jobs that wait for another round"),
    KeyFamily((keys.calls("bb"),), "hash", _N, _STREAM, "worker",
              "calls to gateways that are under way, with gateway and price, for whoever finds a worker dead"),
    KeyFamily((keys.dead_letters("bb"),), "stream", _N, _STREAM, "`dead-letters`, `doctor`",
              "dead letters: messages that were given up"),
    KeyFamily((keys.events("bb"),), "stream", _P,
              Life("no TTL; trimmed once it is recorded in the ledger, by age and length"),
              "worker (into the ledger), `find`, readers of your own",
              "what happened; until it is recorded, the evidence of a consent that came with a start, the "
              "address shortened"),
    KeyFamily((keys.recent("bb", "<pseudonym>"),), "list", _P, _STREAM, "API, `find`",
              "a number's last 20 verifications, with the time of each start"),
    KeyFamily((keys.decisions("bb"),), "stream", _N, _STREAM, "`guard`",
              "what the guard's rules refused, or would have, and what changed for all"),
    KeyFamily((keys.attempts("bb"),), "stream", _P, _STREAM, "`guard replay`", "starts, resends and codes"),
    KeyFamily((keys.standing("bb", "<pseudonym>"),), "string", _P,
              _after("standing", "{} after the last approval"), "API",
              "when a number was approved last, and from which contexts"),
    KeyFamily((keys.cooldown("bb", "<pseudonym>"),), "string", _P, _after("cooldown", "{}"), "API",
              "messages in a row that nobody approved, by lane"),
    KeyFamily((keys.guesses("bb", "<application>", "<pseudonym>"),), "string", _P, _after("guesses", "{}"), "API",
              "wrong codes in a row, by lane; the lock"),
    KeyFamily((keys.block("<block>"),), "string", _P, _after("block", "{} after the last message"), "API",
              "buckets and breaker of a block of 10,000 numbers"),
    KeyFamily((keys.country("<application>", "<country>"),), "string", _N,
              _after("country", "{} after the last message"), "API, `guard status`",
              "buckets and breaker of an application's country"),
    KeyFamily((keys.address("<network>"),), "string", _P, _after("address", "{} after the last start"), "API",
              "buckets of an end user's network"),
    KeyFamily((keys.asked("<network>"),), "set", _P, _after("asked", "{}"), "API",
              "numbers and countries that a network asked codes for"),
    KeyFamily((keys.network("<network>"),), "string", _P, _after("network", "{} after the last start"), "API",
              "buckets of an IPv6 /48"),
    KeyFamily((keys.provider("<network>"),), "string", _P, _after("provider", "{} after the last start"), "API",
              "buckets of an IPv6 /32"),
    KeyFamily((keys.failures("<application>"),), "string", _N, _after("failures", "{}"), "API",
              "codes that an application checked, wrong and right ones"),
    KeyFamily((keys.spend("<application>"),), "string", _N, _after("spend", "{}"), "API, worker, `guard status`",
              "what an application spent in this hour and day"),
    KeyFamily((keys.spend_in_country("<application>", "<country>"),), "string", _N, _after("spendcountry", "{}"),
              "API, worker, `guard status`", "the same for a country"),
    KeyFamily((keys.health("<gateway>"),), "hash", _N,
              Life("a day after it says anything", lambda _: 2 * BY_HAND // 1000), "worker, `gateway status`",
              "breaker, pause and rate of a gateway"),
    KeyFamily((keys.flights("<gateway>"),), "zset", _N, Life("a day after the last call", lambda _: _DAY), "worker",
              "its calls in flight, where they are bounded"),
    KeyFamily((keys.reference("<gateway>", "<reference>"),), "string", _N, _RECORD, "worker",
              "the dispatch that a gateway took over under a reference (its hash)"),
    KeyFamily((keys.early_receipts("<gateway>", "<reference>"),), "list", _P,
              Life("10 min", lambda _: EARLY // 1000), "worker",
              "receipts for a reference that is not known yet; whom they are about, where it is a guess"),
    KeyFamily(keys.moving(keys.number_window("bb", "<pseudonym>", _SECONDS)), "list", _P, _WINDOW, "API, `limits`",
              "times of the messages to a number"),
    KeyFamily(keys.moving(keys.failed_checks_window("bb", "<application>", "<pseudonym>", _SECONDS)), "list", _P,
              _WINDOW, "API, `limits`", "times of the wrong codes"),
    KeyFamily(keys.sliding(keys.network_window("<network>", _SECONDS)), "string", _P, _TWO_WINDOWS, "API, `limits`",
              "starts from a network"),
    KeyFamily(keys.sliding(keys.application_window("<application>", _SECONDS)), "string", _N, _TWO_WINDOWS,
              "API, `limits`", "starts and resends of an application"),
    KeyFamily((keys.caught("<application>"),), "list", _S, _RECORD, "API (sandbox)",
              "the last 100 messages that a sandbox gateway caught"),
    KeyFamily((keys.caught_of("<application>", "<id>"),), "list", _S, _RECORD, "API (sandbox)",
              "the caught messages of one verification"),
)
# fmt: on
"""All keys, in the order of `keys`."""
