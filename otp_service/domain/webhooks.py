"""Webhooks to applications (Standard Webhooks 1.0.0): types, bodies, signatures, targets, retries."""

import base64
import hashlib
import heapq
import hmac
import json
import re
import secrets
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, StrEnum, auto
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from otp_service.domain.applications import Network
from otp_service.domain.audit import Event
from otp_service.domain.keyring import user_id, user_of_factor


class WebhookType(StrEnum):
    """The type of a webhook."""

    VERIFICATION_STARTED = "verification.started"
    VERIFICATION_RESENT = "verification.resent"
    VERIFICATION_APPROVED = "verification.approved"
    VERIFICATION_CANCELED = "verification.canceled"
    VERIFICATION_EXPIRED = "verification.expired"
    """A check came after the end. Without such a check the verification expires without a webhook."""
    VERIFICATION_FAILED = "verification.failed"
    VERIFICATION_MAX_ATTEMPTS_REACHED = "verification.max_attempts_reached"
    DELIVERY_SENT = "delivery.sent"
    DELIVERY_DELIVERED = "delivery.delivered"
    DELIVERY_UNDELIVERED = "delivery.undelivered"
    DELIVERY_FAILED = "delivery.failed"
    DELIVERY_EXPIRED = "delivery.expired"
    DELIVERY_UNKNOWN = "delivery.unknown"
    SUPPRESSION_ADDED = "suppression.added"
    SUPPRESSION_LIFTED = "suppression.lifted"
    ALARM_RAISED = "alarm.raised"
    """Fewer unknown numbers of a country approve than usual."""
    ALARM_ENDED = "alarm.ended"
    FACTOR_ACTIVATED = "factor.activated"
    FACTOR_REMOVED = "factor.removed"
    FACTOR_LOCKED = "factor.locked"
    """Too many wrong codes for any factor or recovery code of a user."""
    FACTOR_RECOVERY_CODE_USED = "factor.recovery_code_used"
    FACTOR_RECOVERY_CODES_REPLACED = "factor.recovery_codes_replaced"


def _group(kind: str) -> str:
    return kind.partition(".")[0]


TYPES: Final = frozenset(map(str, WebhookType))
GROUPS: Final = frozenset(map(_group, WebhookType))
"""First parts of types; each stands for all its types."""


def is_chosen(kind: str, chosen: Collection[str]) -> bool:
    """Tell whether a type is chosen, by its own name or its group's."""
    return kind in chosen or _group(kind) in chosen


@dataclass(frozen=True, slots=True)
class Webhook:
    """A thin event for an application, without number, code or metadata; ``at`` is in milliseconds since the epoch."""

    application: str
    type: str
    """A `WebhookType`; a stored one may be of a later release."""
    at: int
    verification: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: f"wh_{secrets.token_hex(16)}")
    """The same for all endpoints and repetitions, so that receivers recognise a repetition."""

    def body(self, sequence: int) -> bytes:
        """Return the JSON (ASCII) for an endpoint, as its webhook number ``sequence``."""
        members = {"application": self.application, "verification": self.verification, **self.details}
        data = {"id": self.id, "sequence": sequence, **{name: value for name, value in members.items() if value}}
        moment = datetime.fromtimestamp(self.at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        document = {"type": self.type, "timestamp": f"{moment}.{self.at % 1000:03}Z", "data": data}
        return json.dumps(document, separators=(",", ":")).encode()


_DETAILS: Final = ("purpose", "country", "channel", "reason")
"""Members from a verification's event."""
_WITH_THE_LEDGER: Final = frozenset(kind for kind in WebhookType if _group(kind) == "factor") - {
    WebhookType.FACTOR_LOCKED
}
"""Types that a transaction of the ledger writes, not an event."""


def webhook_of(event: Event) -> Webhook | None:
    """Return the webhook of an event, ``None`` where it has none; a restored ledger repeats it with the same id."""
    if event.type not in TYPES - _WITH_THE_LEDGER:
        return None
    named = f"wh_{hashlib.sha256(event.id.encode()).hexdigest()[:32]}"
    application, subject = event.member("application"), event.member("id")
    if event.type == WebhookType.FACTOR_LOCKED:
        return Webhook(application, event.type, event.at, details=_of_user(subject), id=named)
    details = {name: event.member(name) for name in _DETAILS if event.member(name)}
    return Webhook(application, event.type, event.at, subject, details, named)


def webhook_of_user(kind: WebhookType, application: str, subject: str, at: int, reason: str = "") -> Webhook:
    """Return a webhook about a user's factor (its identifier), or about a user (the pseudonym)."""
    details = _of_user(subject)
    return Webhook(application, kind, at, details=details | {"reason": reason} if reason else details)


def _of_user(subject: str) -> dict[str, str]:
    """Return the public identifiers of a user, and of a factor, whose identifier contains the user's."""
    user = user_of_factor(subject)
    return {"factor": subject, "user": user_id(user)} if user else {"user": user_id(subject)}


# --- signatures -----------------------------------------------------------------------------------------------

SECRET_BYTES: Final = 32
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what tells a secret from others
SECRET_KIND: Final = "webhook"  # noqa: S105 - what seals are bound to


def new_webhook_secret() -> bytes:
    """Return a new secret: 256 random bits."""
    return secrets.token_bytes(SECRET_BYTES)


def shown_secret(secret: bytes) -> str:
    """Return a secret in the form of receivers' libraries, ``whsec_…``."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def signature_headers(keys: Iterable[bytes], webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers of a body, signed with each key (HMAC-SHA256 over ``id.timestamp.body``)."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    made = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in made),
    }


MAX_URL: Final = 1000


# --- targets --------------------------------------------------------------------------------------------------


class AddressScope(StrEnum):
    """The scope of an address."""

    PUBLIC = "public"
    ALLOWED = "allowed"
    """In an allowed network of the installation."""
    REFUSED = "refused"


_UNICAST: Final = IPv6Network("2000::/3")
"""IPv6 for the internet, by IANA; all other addresses are refused."""
_NOT_PUBLIC: Final = tuple(
    map(
        ip_network,
        (
            "192.0.0.0/24",  # protocols of IETF
            "192.88.99.0/24",  # relays of 6to4
            "224.0.0.0/4",  # multicast
            "2001::/23",  # protocols of IETF, Teredo among them
            "2001:db8::/32",  # for documents
            "2002::/16",  # 6to4, which holds any address of IPv4
            "3fff::/20",  # for documents
        ),
    )
)
"""Addresses that some release of Python calls ``is_global``."""


@dataclass(frozen=True, slots=True)
class TargetRules:
    """Rules on the targets of webhooks."""

    ports: frozenset[int] = frozenset({443})
    networks: tuple[Network, ...] = ()
    """Allowed private networks, at any port and without TLS."""
    nat64: tuple[IPv6Network, ...] = ()
    """Prefixes (/96, RFC 6052) of this site's way to IPv4."""

    def scope_of(self, address: str) -> AddressScope:
        """Return the scope of an address; IPv6 that leads to IPv4 counts as that."""
        target = ip_address(address)
        if isinstance(target, IPv6Address) and any(target in prefix for prefix in self.nat64):
            target = IPv4Address(int(target) & 0xFFFF_FFFF)
        elif isinstance(target, IPv6Address):
            target = target.ipv4_mapped or target
        if any(target in network for network in self.networks):
            return AddressScope.ALLOWED
        outside = isinstance(target, IPv6Address) and (target not in _UNICAST or target.scope_id is not None)
        is_public = target.is_global and not outside and not any(target in network for network in _NOT_PUBLIC)
        return AddressScope.PUBLIC if is_public else AddressScope.REFUSED


@dataclass(frozen=True, slots=True)
class WebhookRules:
    """The configuration of webhooks."""

    targets: TargetRules
    timeout: float
    """Seconds of one call, with the look-up of the host."""
    max_endpoints: int


# --- retries --------------------------------------------------------------------------------------------------

_MINUTE, _HOUR, _DAY = 60, 3600, 24 * 3600
DELAYS: Final = (0, 5, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, _DAY)
"""Seconds before the first, second … try: the schedule that the standard proposes."""
JITTER: Final = 0.2
"""Maximum part by which a delay varies, so that simultaneous failures spread."""
DISABLE_AFTER: Final = 5 * _DAY * 1000
"""Milliseconds of failures without a success that disable an endpoint."""


def next_delay(tries: int, chance: float) -> int | None:
    """Return the milliseconds after ``tries``, ``None`` after the last; ``chance`` (0 to 1) sets the jitter."""
    if tries >= len(DELAYS):
        return None
    return round(1000 * DELAYS[tries] * (1 - JITTER + 2 * JITTER * chance))


SLOW_CALL: Final = 1000
"""Milliseconds of a slow call."""


class EndpointStatus(StrEnum):
    """The state of an endpoint."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    FAILING = "failing"
    """Disabled after five days of failures."""
    GONE = "gone"
    """Disabled after an answer of 410."""


class WebhookDeliveryStatus(StrEnum):
    """The state of a webhook at an endpoint."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"
    HELD = "held"
    """The endpoint is disabled; a replay sends it."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An application's address for webhooks. Times are milliseconds since the epoch."""

    id: str
    application: str
    url: str
    types: tuple[str, ...]
    secret: str = field(repr=False)
    """Sealed (`Keyring.seal_secret`), as `previous`."""
    created: int
    previous: str = field(default="", repr=False)
    previous_until: int = 0
    """The end of its signatures."""
    status: EndpointStatus = EndpointStatus.ENABLED
    failing_since: int | None = None
    """The first failure after the last success."""
    latency: int | None = None
    """Milliseconds of a call, smoothed; ``None`` while it is not slow."""

    @property
    def is_slow(self) -> bool:
        """Whether it is enabled, and its calls take long."""
        return self.status is EndpointStatus.ENABLED and self.latency is not None

    @property
    def seconds(self) -> str:
        """The latency in seconds, for people."""
        return f"{(self.latency or 0) / 1000:.1f}"

    def latency_after(self, milliseconds: int) -> int | None:
        """Return the latency after a call: the mean of both, so that a few quick calls end slowness."""
        smoothed = milliseconds if self.latency is None else (self.latency + milliseconds) // 2
        return smoothed if smoothed >= SLOW_CALL else None

    def calls_at_once(self, per_endpoint: int) -> int:
        """Return the maximum of simultaneous calls: one while it fails, half while it is slow, for they may be why."""
        if self.failing_since is not None:
            return 1
        return per_endpoint if self.latency is None else max(per_endpoint // 2, 1)

    def sealed_secrets(self, now: int) -> tuple[str, ...]:
        """Return the secrets in force, the new one first."""
        return (self.secret, self.previous) if self.previous and now < self.previous_until else (self.secret,)


_ENDPOINT_ID: Final = re.compile(r"we_[0-9a-f]{32}")
_WEBHOOK_ID: Final = re.compile(r"wh_[0-9a-f]{32}")


def new_endpoint_id() -> str:
    """Return a new identifier: 128 random bits."""
    return f"we_{secrets.token_hex(16)}"


def is_endpoint_id(text: str) -> bool:
    """Tell whether a text has the form of an endpoint's identifier."""
    return _ENDPOINT_ID.fullmatch(text) is not None


def is_webhook_id(text: str) -> bool:
    """Tell whether a text has the form of a webhook's identifier."""
    return _WEBHOOK_ID.fullmatch(text) is not None


HOST_NOT_FOUND: Final = "host not found"
ADDRESS_NOT_ALLOWED: Final = "address not allowed"


@dataclass(frozen=True, slots=True)
class WebhookAttempt:
    """One call of an endpoint. ``at`` is in milliseconds since the epoch, ``retry_after`` in seconds."""

    at: int
    milliseconds: int
    status: int
    """Of the response; 0 for none."""
    reason: str = ""
    """Why there is no response, in our words: nothing from the receiver is stored."""
    retry_after: float = 0.0

    @property
    def shown_reason(self) -> str:
        """The reason for applications, which does not reveal the hosts in our networks."""
        hidden = self.reason in {HOST_NOT_FOUND, ADDRESS_NOT_ALLOWED}
        return "host not found or not allowed" if hidden else self.reason

    @property
    def delivered(self) -> bool:
        """Whether the receiver accepted it."""
        return 200 <= self.status < 300  # noqa: PLR2004 - success (RFC 9110, 15.3)

    @property
    def gone(self) -> bool:
        """Whether the receiver wants no more."""
        return self.status == 410  # noqa: PLR2004 - gone (RFC 9110, 15.5.11)


# --- slots --------------------------------------------------------------------------------------------------------


class Pace(Enum):
    """The duration of an endpoint's calls."""

    QUICK = auto()
    UNKNOWN = auto()
    SLOW = auto()


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """A call of an endpoint that a worker is making."""

    application: str
    endpoint: str
    pace: Pace
    """The endpoint's, or slow once this call is."""


class WebhookSlots:
    """A worker's slots for calls of endpoints, shared between applications.

    Slow calls hold at most half of them, and those of unknown pace another quarter, so that quick endpoints always have
    some. An application takes another slot only while more are free than it holds.
    """

    def __init__(self, total: int, calls: Collection[WebhookCall] = (), quick: Collection[str] = ()) -> None:
        """Take the ``calls`` in flight, of which any number may be slow, and the ``quick`` endpoints by identifier."""
        self._total = total
        self._held = Counter(call.application for call in calls)
        self._calls = Counter(call.pace for call in calls)
        self._slow = {call.endpoint for call in calls if call.pace is Pace.SLOW}
        self._quick = quick

    @property
    def is_full(self) -> bool:
        """Whether no call can begin."""
        return self._free(Pace.QUICK) <= 0

    def pace_of(self, endpoint: Endpoint) -> Pace:
        """Return the pace of an endpoint, by its ended calls and those in flight."""
        if endpoint.latency is not None or endpoint.id in self._slow:
            return Pace.SLOW
        return Pace.QUICK if endpoint.id in self._quick else Pace.UNKNOWN

    def share_out(self, requested: Mapping[Endpoint, int]) -> Mapping[str, int]:
        """Take slots, each for the first application with the fewest; return them by endpoint's identifier."""
        queues: dict[str, deque[Endpoint]] = defaultdict(deque)
        for endpoint, calls in requested.items():
            if calls > 0:
                queues[endpoint.application].append(endpoint)
        turns = [(self._held[application], place, application) for place, application in enumerate(queues)]
        heapq.heapify(turns)
        shares: Counter[str] = Counter()
        while turns and not self.is_full:
            _, place, application = heapq.heappop(turns)
            endpoint = queues[application].popleft()
            pace = self.pace_of(endpoint)
            if self._free(pace) > self._held[application]:
                self._held[application] += 1
                self._calls[pace] += 1
                shares[endpoint.id] += 1
                if shares[endpoint.id] < requested[endpoint]:
                    queues[application].append(endpoint)
            if queues[application]:
                heapq.heappush(turns, (self._held[application], place, application))
        return shares

    def _free(self, pace: Pace) -> int:
        half, slow = self._total // 2, self._calls[Pace.SLOW]
        not_quick = min(slow, half) + self._calls[Pace.UNKNOWN]
        left = self._total - not_quick - self._calls[Pace.QUICK]
        if pace is Pace.QUICK:
            return left
        left = min(left, self._total * 3 // 4 - not_quick)
        return left if pace is Pace.UNKNOWN else min(left, half - slow)
