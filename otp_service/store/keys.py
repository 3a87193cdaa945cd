"""Every key in Redis: its pattern, content, life and readers.

docs/data.md is made from this table, and the tests compare every key with it. A script touches keys of one hash tag
only: a bucket, on a cluster a gateway, or a key with a tag of its own. Subjects that numbers of several buckets share
(an application, a country, an end user's networks) have a state in each bucket.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Final, Literal

from otp_service.domain.keyring import IDEMPOTENCY_SECONDS
from otp_service.domain.totp import PENDING_SECONDS
from otp_service.domain.verification import MAX_CODE_LIFE, RECORD_GRACE
from otp_service.extensions import load_extensions

PREFIX: Final = "otp"
"""Beginning of all keys; the ``limits`` library puts it before its own."""
FORMAT: Final = "2"
"""Format of the whole store: a release reads its own format only. A server without this entry has format 1."""

Spans = Mapping[str, int]
"""Seconds from the settings: ``streams`` (``streams.retention_days``), and each subject of the guard."""


@dataclass(frozen=True, slots=True)
class Life:
    """The life of a key."""

    words: str
    """For the document; ``{}`` stands for the longest life."""
    amount: int | None = None
    """Seconds, or multiples of ``span``; ``None`` without a TTL."""
    span: str = ""
    """Name in `Spans`; empty for seconds."""
    may_stay: bool = False
    """Whether a key may have no TTL, or a longer TTL, all the same."""

    def longest(self, spans: Spans) -> int | None:
        """Return the longest life in seconds; ``None`` without a TTL."""
        return self.amount * spans[self.span] if self.amount and self.span else self.amount

    def fits(self, milliseconds: int, spans: Spans) -> bool:
        """Return whether a key of this life may have a TTL (``PTTL``)."""
        longest = self.longest(spans)
        if milliseconds == -1 or self.may_stay:
            return longest is None or self.may_stay
        return longest is not None and 0 <= milliseconds <= 1000 * longest


@dataclass(frozen=True)
class Key:
    """A kind of key. Called with a value for each ``<field>`` of its pattern, in that order, it returns a key."""

    pattern: str
    type: str
    """The answer to ``TYPE``."""
    personal: Literal["", "pseudonym", "sealed"]
    """Personal data: numbers or networks under a keyed name; or data encrypted under the verification's own key."""
    life: Life
    read_by: str
    holds: str

    def __call__(self, *values: str | int) -> str:
        """Return a key. Raises `TypeError` for too few values, or too many."""
        return self._form % (values[:1] + values if self._is_own_tag else values)

    def beginning(self, *values: str | int) -> str:
        """Return the beginning of the keys with these values in their first fields."""
        return self._beginnings[len(values)] % values

    @property
    def seconds(self) -> int:
        """The longest life. Raises `ValueError` without a TTL, or if settings decide it."""
        if self.life.amount is None or self.life.span:
            raise ValueError(f"{self.pattern} has no life of its own.")
        return self.life.amount

    def has(self, key: str) -> bool:
        return self._regex.fullmatch(key) is not None

    @cached_property
    def _form(self) -> str:
        return re.sub("<[^>]+>", "%s", self.pattern)

    @cached_property
    def _beginnings(self) -> list[str]:
        """The beginning of the keys by the number of fields with values."""
        return list(accumulate(self._form.split("%s"), "{}%s{}".format))

    @cached_property
    def _is_own_tag(self) -> bool:
        """Whether the first field is both the hash tag and a part of the name."""
        first, *others = re.findall("<[^>]+>", self.pattern) or [""]
        return first in others

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        exact = re.escape(self.pattern).replace("<bucket>", "[0-9a-f]{2}")
        return re.compile(re.sub("<[^>]+>", "[^:/{}]*", exact))


@lru_cache(maxsize=4096)
def queue_keys(bucket: str, kind: str, application: str, country: str, channel: str) -> tuple[str, str, str, str]:
    """Return the keys that a script needs to put a job into a queue."""
    return queue(bucket, kind, application, country, channel), queues(bucket), ready(bucket), wake(bucket)


def of_networks(bucket: str, *networks: str) -> tuple[str, ...]:
    """Return the keys of an address and, of IPv6, of its /48 and /32, or of the address alone."""
    kinds = (address, network, provider) if all(networks) else (address,)
    return tuple(kind(bucket, name) for kind, name in zip(kinds, networks, strict=False))


_DAY: Final = 24 * 3600
_FOR_EVER: Final = Life("for ever")
_MINUTE: Final = Life("a minute", 60)
_QUEUES: Final = Life("no TTL; an empty queue is forgotten within an hour")
_RECORD: Final = Life("life of the code + 10 min", MAX_CODE_LIFE + RECORD_GRACE)
_STREAM: Final = Life("`streams.retention_days` after the last write", 1, "streams")

# fmt: off
installation = Key("otp:installation", "hash", "", _FOR_EVER, "all processes",
    "fingerprint of the pseudonym key, number of bucket bits, format of all that is stored; the replication id of the "
    "server, how many replicas have what it answered, until when a planned fail-over may take, and one that took over "
    "has to be known")
replicated = Key("otp:{<tag>}:replicated", "string", "", _MINUTE, "no process",
    "nothing: it is written so that replicas can be waited for")
server = Key("otp:{<bucket>}:server", "hash", "", _FOR_EVER, "all processes of a cluster",
    "the shard of its server, its replication id and how many replicas have what it answered; until when a planned "
    "fail-over may take, and one that took over has to be known")
access = Key("otp:access", "hash", "", _FOR_EVER, "API, worker, console",
    "applications and hashes of API keys of the ledger, sealed, for processes that start while it is away; in which "
    "run of the server they were noted")
worker = Key("otp:worker", "string", "", Life("15 s", 60), "API (`/readyz`), `doctor`",
    "when a worker was last seen, and its name")
mirror = Key("otp:{<bucket>}:mirror/head", "hash", "", _FOR_EVER, "API, worker",
    "which ledger the mirror is built of, and how far it has come")
mirror_builder = Key("otp:{<bucket>}:mirror/builder", "string", "", Life("30 s", 60), "API, worker",
    "who builds the mirror")
mirrored = Key("otp:{<bucket>}:mirror/number/<pseudonym>", "hash", "pseudonym",
    Life("as long as anything holds of the number; then a day", _DAY, may_stay=True), "API, worker",
    "suppressions of a number, freezes in force and recent ones, recent erasures, and its consents; of a "
    "user the same, and authenticator apps, sealed")
fence = Key("otp:{<bucket>}:fence", "hash", "", Life("a day", 24 * 3600), "API, worker, `doctor`",
    "when the store was fenced: what was started before is expired")
replies = Key("otp:replies", "list", "sealed", Life("10 min", 600), "worker",
    "replies to what people wrote back, that are still to be sent")
replied = Key("otp:{<bucket>}:replied:<application>:<meaning>:<pseudonym>", "string", "pseudonym", Life("a day", _DAY),
    "API, worker", "that something which a number wrote was answered")
inbox = Key("otp:inbox", "stream", "sealed", Life("5 days after the last message", 5 * _DAY), "console, `inbox`",
    "messages from people that match no keyword, sealed with their numbers' masks, until support has decided; 1,000 at "
    "most")
inbox_count = Key("otp:{<bucket>}:inbox:<pseudonym>", "string", "pseudonym", Life("a day", _DAY), "API, worker",
    "how many messages of a number were kept for support today")
record = Key("otp:{<bucket>}:v:<id>", "hash", "sealed", _RECORD, "API, worker, `find`",
    "the record: what never changes (policy, sealed mask and details, …), its state (status, tag, counts), the sealed "
    "number, the user and earlier approvals that it rests on, dispatches")
dispatch = Key("otp:{<bucket>}:dispatch:<dp id>", "hash", "", _RECORD, "API (receipts), `find`",
    "record and slot of a dispatch, gateway; where traces are on its span")
idempotency = Key("otp:{<bucket>}:idempotency:<application>:<fingerprint>", "hash", "",
    Life("24 h; of resends, checks and cancellations as the record", IDEMPOTENCY_SECONDS), "API",
    "what an idempotency key stood for, and its answer; of recovery codes what they are derived from with a root key")
queue = Key("otp:{<bucket>}:outbox:<kind>:<application>:<country>:<channel>", "stream", "",
    Life("no TTL; trimmed by age each hour, its length bounded by `backlog-full`; deleted within an hour once it "
         "is empty"), "worker",
    "a queue of the outbox: the messages to deliver, which name their records, and where traces are on the span that "
    "queued them")
queues = Key("otp:{<bucket>}:queues", "hash", "", _QUEUES, "API, worker",
    "keys of all queues, and how many messages were ever put into each")
ready = Key("otp:{<bucket>}:ready", "set", "", _QUEUES, "worker",
    "keys of the queues that may hold jobs that no worker has taken")
wake = Key("otp:{<bucket>}:wake", "list", "", _MINUTE, "worker", "wakes a worker for each of its members, 64 at most")
delayed = Key("otp:{<bucket>}:delayed", "zset", "", _STREAM, "worker",
    "jobs that wait for another round, by time in milliseconds")
calls = Key("otp:{<bucket>}:calls", "hash", "", _STREAM, "worker",
    "calls to gateways that are under way, with gateway and price, for the worker that takes over from a dead one")
dead_letters = Key("otp:{<bucket>}:dead", "stream", "", _STREAM, "`dead-letters`, `doctor`",
    "dead letters: messages that were given up")
events = Key("otp:{<bucket>}:events", "stream", "pseudonym",
    Life("no TTL; trimmed once it is recorded in the ledger, by age and length"),
    "worker (into the ledger), `find`, `guard replay`, readers of your own",
    "what happened; of a start number, block, address and context, and the number prefix in clear; until it is "
    "recorded, the evidence of a consent "
    "that came with a start, the address shortened")
decisions = Key("otp:{<bucket>}:decisions", "stream", "pseudonym", _STREAM, "`guard`",
    "what the guard's rules refused, or would have, and what changed for all; of a refused start number, block, "
    "address and context, and the number prefix in clear")
number = Key("otp:{<bucket>}:number:<pseudonym>", "string", "pseudonym", Life("{} after the last write", 1, "number"),
    "API, `find`, `limits`",
    "a number: when it was approved and from which contexts, times of its last messages, waits, its last 20 "
    "verifications; for each application wrong codes and a lock")
user = Key("otp:{<bucket>}:user:<pseudonym>", "string", "pseudonym", Life("{} after the last write", 1, "number"),
    "API, `factor unlock`",
    "an application's user: wrong codes and a lock, for all factors and recovery codes; as a number's")
pending_factor = Key("otp:{<bucket>}:pending:<factor>", "hash", "sealed", Life("10 min", PENDING_SECONDS), "API",
    "an authenticator app that waits for its first code: sealed secret and label; a pseudonym in the identifier")
waiting_factors = Key("otp:{<bucket>}:pending_of:<pseudonym>", "zset", "pseudonym",
    Life("10 min", PENDING_SECONDS), "API",
    "identifiers of the apps of an application's user that wait for their first code, and until when")
waiting_factors_at = Key("otp:{<bucket>}:pending_at:<application>", "zset", "pseudonym",
    Life("10 min", PENDING_SECONDS), "API",
    "the same of all users of an application; pseudonyms in the identifiers")
user_verifications = Key("otp:{<bucket>}:started:<pseudonym>", "list", "pseudonym", _RECORD, "API",
    "the last 20 verifications that name an application's user, which a freeze of the user ends")
evidence = Key("otp:{<bucket>}:evidence:<approval>", "hash", "pseudonym",
    Life("as long as its proof, or the longest `after_max_age` for its purpose", _DAY), "API",
    "an approval with a proof: the number, user and app that it rests on, and what it was used for; a pseudonym in the "
    "identifier of an app's or a recovery code's")
factor_step = Key("otp:{<bucket>}:factor:<factor>", "string", "pseudonym",
    Life("15 min longer than a code lives", 3600), "API",
    "the last period whose code was accepted; a pseudonym in the identifier")
address = Key("otp:{<bucket>}:address:<network>", "string", "pseudonym",
    Life("{} after the last start", 1, "address"), "API",
    "an end user's network: its limits, its buckets, and which numbers and countries it asked codes for")
page_requests = Key("otp:{<network>}:pages:<network>", "string", "pseudonym", _MINUTE, "API",
    "requests of hosted pages from an end user's network in a minute")
network = Key("otp:{<bucket>}:network:<network>", "string", "pseudonym",
    Life("{} after the last start", 1, "network"), "API", "buckets of an IPv6 /48")
provider = Key("otp:{<bucket>}:provider:<network>", "string", "pseudonym",
    Life("{} after the last start", 1, "provider"), "API", "buckets of an IPv6 /32")
block = Key("otp:{<bucket>}:block:<block>", "string", "pseudonym", Life("{} after the last message", 1, "block"),
    "API", "buckets and breaker of a block of 10,000 numbers, all applications together")
country = Key("otp:{<bucket>}:country:<application>/<country>", "string", "",
    Life("{} after the last message", 1, "country"), "API, worker, `guard status`",
    "an application's country: its buckets and breaker, what was spent in this hour and day")
tallies = Key("otp:{<application>}:tallies:<application>", "hash", "",
    Life("a day after the last event", _DAY), "worker",
    "starts and approvals by country, number prefix and minute, that are still to be judged")
human_checks = Key("otp:{<bucket>}:asked:<application>/<ten minutes>", "string", "",
    Life("20 min", 1200), "API",
    "about how many different addresses, or numbers, were asked for a human check or passed one (a HyperLogLog, which "
    "tells none)")
traffic = Key("otp:{<application>}:traffic:<application>", "hash", "",
    Life("60 days after the last event", 60 * _DAY), "worker, `guard status`",
    "an application's unknown numbers by country and prefix: how many usually start and approve, and what is unusual")
blocks = Key("otp:{<bucket>}:unapproved:<hour>", "zset", "pseudonym", Life("a day after its hour", 26 * 3600),
    "worker, `guard status`",
    "how many unknown numbers of a block, by country and prefix, began in an hour and did not approve; of "
    "5,000 blocks at most")
leases = Key("otp:{workers}:leases/<duty>", "zset", "", _MINUTE, "worker",
    "until when each worker has a share of the buckets, for a duty: to deliver, or to record")
judge = Key("otp:judge", "string", "", Life("15 s", 15), "worker", "which worker judges the traffic of unknown numbers")
application = Key("otp:{<bucket>}:application_state:<application>", "string", "",
    Life("{} after the last message", 1, "application"), "API, worker, `guard status`",
    "an application: its limits, codes that it checked, what it spent in this hour and day")
unsummed = Key("otp:{limits}:unsummed", "set", "pseudonym", _MINUTE, "API, worker",
    "applications, and end users' networks, whose requests a worker is to sum over the buckets; 5,000 at most")
health = Key("otp:{<gateways>}:health:<gateway>", "hash", "", Life("a day after it says anything", 60 * _DAY),
    "worker, `gateway status`", "breaker, pause and rate of a gateway")
in_flight = Key("otp:{<gateways>}:in_flight:<gateway>", "zset", "", Life("a day after the last call", _DAY), "worker",
    "its calls in flight, where they are bounded")
reference = Key("otp:{<gateways>}:reference:<gateway>:<reference>", "string", "", _RECORD, "worker",
    "the dispatch that a gateway took over under a reference (its hash)")
early_receipts = Key("otp:{<gateways>}:early:<gateway>:<reference>", "list", "pseudonym", Life("10 min", 600), "worker",
    "receipts for a reference that is not known yet; whom they are about, where it is a guess")
sandbox_messages = Key("otp:{sandbox}:application:<application>", "list", "sealed", _RECORD, "API (sandbox)",
    "the last 100 messages that a sandbox gateway caught")
sandbox_messages_of = Key("otp:{sandbox}:verification:<application>:<id>", "list", "sealed", _RECORD, "API (sandbox)",
    "the caught messages of one verification")
# fmt: on

KEYS: Final = tuple(kind for kind in list(globals().values()) if isinstance(kind, Key))


def all_keys() -> tuple[Key, ...]:
    return (*KEYS, *(key for extension in load_extensions() for key in extension.keys))


ACCESS: Final = access()
INSTALLATION: Final = installation()
WORKER: Final = worker()
JUDGE: Final = judge()
UNSUMMED: Final = unsummed()
REPLIES: Final = replies()
INBOX: Final = inbox()


def tag_of(key: str) -> str:
    """Return the hash tag of a key, by which a cluster chooses its server; the whole key if it has no tag."""
    return key[key.index("{") + 1 : key.index("}")] if "{" in key else key
