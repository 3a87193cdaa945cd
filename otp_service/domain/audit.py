"""Events, operators' actions, the audit chain over both, and retention."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

# The chain holds digests only, so rows can be deleted without breaking it. Changing, removing or swapping an entry
# breaks a link; cutting off the last entries leaves a chain that does not reach a head signed and exported before.

GENESIS: Final = "0" * 64
"""The link before the first entry."""
GONE: Final = ""
"""The digest of a deleted row that granted access."""


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """The entry of a recorded row; ``at`` is in milliseconds since the epoch."""

    sequence: int
    """From 1, without a gap."""
    at: int
    table: str
    row: str
    digest: str

    def matches(self, digest: str) -> bool:
        """Tell whether its row has this digest."""
        return hmac.compare_digest(self.digest, digest)

    def link(self, previous: str) -> str:
        """Return SHA-256 over the previous link and the entry, 64 hexadecimal digits."""
        return digest_of([previous, self.sequence, self.at, self.table, self.row, self.digest])


@dataclass(frozen=True, slots=True)
class ChainHead:
    """A signed head of the chain; ``ledger`` is the ledger's identity, ``at`` in milliseconds since the epoch."""

    ledger: str
    sequence: int
    link: str
    at: int

    @property
    def signed(self) -> bytes:
        """The signed bytes: these members as canonical JSON."""
        return canonical_json({"ledger": self.ledger, "sequence": self.sequence, "link": self.link, "at": self.at})


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - whatever JSON holds
    """Return JSON with sorted names and without blanks, in UTF-8."""
    return _CANONICAL.encode(value).encode(errors="surrogatepass")


_CANONICAL: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def digest_of(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Return SHA-256 of the canonical JSON of a row or entry, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def short_digest(digest: str) -> str:
    """Return the first 128 bits of a digest, which are collision resistant."""
    return digest[:32]


CONSENT_GIVEN: Final = "consent.given"
"""Type of the event with a start's consent, which is deleted once it is recorded."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a verification, with pseudonyms, and with the evidence of a start's consent."""

    id: str
    """Its id in the stream; empty where only its content matters."""
    at: int
    """Milliseconds since the epoch, by Redis' clock."""
    type: str
    fields: Mapping[str, str]

    def member(self, name: str) -> str:
        """Return a field, empty when it is absent."""
        return self.fields.get(name, "")

    @property
    def place(self) -> tuple[int, int]:
        """The sort key within a bucket: the time, and the place among events of the same millisecond."""
        count = self.id.partition("-")[2].partition(":")[0]
        return self.at, int(count) if count.isdecimal() else 0


class OperatorAction(StrEnum):
    """An action of an operator."""

    API_KEY_ISSUED = "api-key-issued"
    API_KEY_ROTATED = "api-key-rotated"
    API_KEY_REVOKED = "api-key-revoked"
    APPLICATION_ADDED = "application-added"
    APPLICATION_CHANGED = "application-changed"
    LIMITS_RESET = "limits-reset"
    GUARD_UNBLOCKED = "guard-unblocked"
    MIRROR_REBUILT = "mirror-rebuilt"
    """The opt-outs and consents in Redis were rebuilt from the ledger."""
    STORE_FENCED = "store-fenced"
    """All verifications in Redis were ended."""
    FAILOVER_BEGUN = "failover-begun"
    FAILOVER_ENDED = "failover-ended"
    SUBJECT_FROZEN = "subject-frozen"
    SUBJECT_UNFROZEN = "subject-unfrozen"
    SUBJECT_ERASED = "subject-erased"
    CONSENT_WITHDRAWN = "consent-withdrawn"
    FACTOR_REMOVED = "factor-removed"
    FACTORS_UNLOCKED = "factors-unlocked"
    FACTORS_RESEALED = "factors-resealed"
    FACTOR_STEPS_RESET = "factor-steps-reset"
    """Steps ahead of the clock were lowered to the present one."""
    SUPPRESSION_ADDED = "suppression-added"
    SUPPRESSION_LIFTED = "suppression-lifted"
    SUPPRESSIONS_IMPORTED = "suppressions-imported"
    MESSAGE_DISMISSED = "message-dismissed"
    """Support read an inbound message that needed no action."""
    GATEWAY_PAUSED = "gateway-paused"
    GATEWAY_RESUMED = "gateway-resumed"
    MESSAGES_REDRIVEN = "messages-redriven"
    ENDPOINT_ADDED = "endpoint-added"
    ENDPOINT_CHANGED = "endpoint-changed"
    ENDPOINT_ROTATED = "endpoint-rotated"
    ENDPOINT_ENABLED = "endpoint-enabled"
    ENDPOINT_DISABLED = "endpoint-disabled"
    ENDPOINT_REMOVED = "endpoint-removed"
    WEBHOOKS_REPLAYED = "webhooks-replayed"
    WEBHOOKS_RESEALED = "webhooks-resealed"


@dataclass(frozen=True, slots=True)
class OperatorActionEntry:
    """A recorded action of an operator."""

    action: str
    """An `OperatorAction` or an extension's; rows may have a later release's, or a forged one."""
    by: str
    """A login at a command line (``cli:ali``), users of the console (``console:ali with sara``), or an operator's
    API key by name."""
    application: str = ""
    target: str = ""
    """The object of the action, such as the name of a key, or its outcome. Never a number."""
    at: int = 0
    """Milliseconds since the epoch."""
    id: str = ""


@dataclass(frozen=True, slots=True)
class PurgeRecord:
    """A signed record of a purge. Times are milliseconds since the epoch."""

    id: str
    data: str
    before: int
    """Older rows were deleted, unless the rows are named."""
    at: int
    rows: int = 0
    """Deleted rows. The number grows during a purge, so it is not signed."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Keys of the rows, and the beginnings of their digests, where rows end by more than age."""
    last_sequence: int = 0
    """The last deleted entry of the chain, which begins after it; 0 for none."""
    link: str = ""
    signature: str = ""

    @property
    def signed(self) -> bytes:
        """The signed bytes, as canonical JSON."""
        return canonical_json([self.id, self.data, self.before, self.at, self.names, self.last_sequence, self.link])


_DAY: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class RetentionDays:
    """Retention in days, by class of data."""

    traffic: int
    stats: int
    consents: int
    """After a later entry; the last entry of each consent stays."""
    suppressions: int
    """After a suppression was lifted, ended, or followed by another; an active suppression stays."""
    inbound: int
    webhooks: int
    factors: int
    """After an authenticator app was removed, or a recovery code used or replaced."""
    access: int
    """After an API key was revoked or ended, or an endpoint removed."""
    accountability: int
    audit: int

    def cutoff(self, data: str, now: int) -> int:
        """Return the time before which a class of data is deleted; times are milliseconds since the epoch."""
        days: int = getattr(self, data)
        return now - days * _DAY
