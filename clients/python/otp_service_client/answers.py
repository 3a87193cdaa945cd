"""What calls return: the members of the API's answers under their own names, times as `datetime` in UTC.

What is shown once or opens something is left out of every `repr`.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, NoReturn, NotRequired, Required, TypedDict, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


class Transaction(TypedDict, total=False):
    """A payment that a person agrees to; take it from your own books for the start and for the check."""

    amount: Required[str]
    """Decimal, such as `"1500.00"`."""
    currency: Required[str]
    """ISO 4217."""
    payee: Required[str]
    account: str | None
    """The last four digits of the payer's own account."""
    reference: str | None


class Consent(TypedDict):
    """That a person agreed to messages, and to which words."""

    text_version: str
    text_sha256: str
    """SHA-256 of the words in UTF-8, in lower-case hexadecimal digits."""
    locale: str
    channel: str
    given_at: datetime | str
    source: str


class HumanCheck(TypedDict, total=False):
    """What came of a human check."""

    passed: bool
    token: str


class ClientToken(TypedDict):
    """What a page or an app may do with one verification."""

    allow: list[str]
    """Of `read`, `check` and `resend`."""
    origin: NotRequired[str]


class PageRequest(TypedDict):
    """Asks for a page on which the person types the code."""

    return_url: str


class _Result:
    """What became of a code: its truth is in `valid`, and nowhere else. Type checkers tell what comes after a test."""

    def __bool__(self) -> NoReturn:
        raise TypeError("a result is neither true nor false: look at its member valid (of a page: at status and id)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One call to one gateway, or a message that waits for its first."""

    channel: str
    gateway: str | None
    status: str
    """`queued`, `sent`, `delivered`, `undelivered`, `failed`, `expired` or `unknown`."""
    at: datetime
    reason: str | None
    message: int
    choice: str | None
    begun_at: datetime
    raw_status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page on which the person types the code."""

    url: str = field(repr=False)
    """Send this person's browser there, and nobody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """One attempt to prove that a person holds a number. A `status` that was read is no proof: only a check is."""

    id: str
    """Keep it in the person's session."""
    status: str
    """`pending`, `approved`, or for good `canceled`, `expired`, `failed` or `max_attempts_reached`. What was approved
    reads as `canceled` once the number or the user is frozen or erased."""
    to: str
    """The number, masked."""
    country: str
    channel: str
    purpose: str
    locale: str
    created_at: datetime
    expires_at: datetime
    checks_left: int
    sends_left: int
    resend_after: datetime | None
    """`None` when no message is left."""
    transaction: Transaction | None
    metadata: Mapping[str, str] = field(repr=False)
    user: str | None = field(repr=False)
    page: Page | None
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedVerification(Verification):
    """A verification that was started."""

    destination: str = field(repr=False)
    """The number in E.164, the same for every spelling: name accounts by it. Keep it beside the id in the person's
    session."""
    client_token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult(_Result):
    """What became of a code. Let the person in only when `valid` is true."""

    id: str
    status: str
    valid: bool
    checks_left: int
    reason: str | None
    """`wrong_code`, `expired`, `already_approved`, `canceled`, `max_attempts_reached`, `number_locked`,
    `transaction_changed`, `failed`, `revoked`; `None` when the code is valid."""
    proof: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtMessage:
    """A message that the sandbox caught instead of sending it."""

    verification: str
    to: str
    channel: str
    sender: str | None
    text: str = field(repr=False)
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeemedProof:
    """What a proof states, told once."""

    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofKey:
    """A key that signs proofs, or once did."""

    key: Mapping[str, str]
    """RFC 7517."""
    first_used_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """The public keys of proofs (RFC 7517)."""

    keys: tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageResult(_Result):
    """What came of a page: believe it if `id` is the verification of this session, and `status` is `approved`."""

    id: str
    status: str
    proof: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """An authenticator app."""

    id: str
    type: str
    status: str
    label: str | None = field(repr=False)
    algorithm: str
    digits: int
    period: int
    """Seconds that a code lasts."""
    created_at: datetime | None
    used_at: datetime | None
    removed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """An app that waits for its first code, with what is shown once. Keep none of it."""

    factor: Factor
    secret: str | None = field(repr=False)
    uri: str | None = field(repr=False)
    qr: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorCheckResult(_Result):
    """What became of a code of an app. Let the person in only when `valid` is true."""

    id: str
    status: str
    valid: bool
    reason: str | None
    """`wrong_code`, `code_used`, `factor_locked` or `revoked`; `None` when the code is valid."""
    proof: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationResult(FactorCheckResult):
    """What became of a first code."""

    recovery_codes: tuple[str, ...] | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFactors:
    """What a user has."""

    user_id: str
    factors: tuple[Factor, ...]
    recovery_codes_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryCodes:
    """A new series, shown once."""

    user_id: str
    recovery_codes: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryCheckResult(_Result):
    """What became of a recovery code. Let the person in only when `valid` is true."""

    valid: bool
    reason: str | None
    left: int
    replacement: str | None = field(repr=False)
    """A new code for the one that was used, shown once."""
    proof: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentEntry:
    """A consent, or its withdrawal."""

    status: str
    purpose: str
    recorded_at: datetime
    text_version: str | None
    text_sha256: str | None
    locale: str | None
    channel: str | None
    given_at: datetime | None
    source: str | None
    address_prefix: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRecord:
    """What is recorded of a number's consent to a purpose."""

    to: str
    purpose: str
    status: str
    """`given`, `withdrawn` or `none`."""
    entries: tuple[ConsentEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """That a number gets no messages, or gets them again."""

    scope: str
    lifted: bool
    source: str
    everywhere: bool
    reason: str | None
    until: datetime | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionRecord:
    """What is recorded of the messages that a number is not to get."""

    to: str
    suppressed: bool
    frozen: bool
    entries: tuple[Suppression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """How a number stands."""

    to: str
    frozen: bool
    everywhere: bool
    since: datetime | None
    reason: str | None
    ended: tuple[str, ...]
    """Verifications that this call ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedVerification:
    """A verification as the ledger keeps it."""

    id: str
    purpose: str
    country: str
    started_at: datetime
    expires_at: datetime | None
    channel: str | None
    carrier_range: str | None
    lane: str | None
    status: str
    ended_at: datetime | None
    events: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMessage:
    """A message that came from a number."""

    gateway: str
    meaning: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDelivery:
    """A webhook on its way to an endpoint."""

    endpoint: str
    sequence: int
    status: str
    tries: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldWebhook:
    """A webhook about a verification of a number, or about a user."""

    id: str
    verification: str | None
    type: str
    at: datetime
    details: Mapping[str, Any]
    deliveries: tuple[WebhookDelivery, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """That somebody at the operator looked at what is held of a number."""

    at: datetime
    by: str
    view: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondPersonRequest:
    """That somebody at the operator asked for what takes two people."""

    at: datetime
    by: str
    act: str
    reason: str | None
    decided_at: datetime | None
    decided_by: str | None
    outcome: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadMessage:
    """A message from a number that waits to be read by the operator's support."""

    gateway: str
    text: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """That a rule of the guard refused something, or would have."""

    at: datetime
    rule: str
    mode: str
    kind: str
    purpose: str
    country: str
    verification: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What limits count at the application, and what it knows."""

    approved_at: datetime | None
    devices: tuple[datetime, ...]
    messages: tuple[datetime, ...]
    wrong_codes: tuple[datetime, ...]
    locked_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What an erasure did."""

    at: datetime
    erased: Mapping[str, int]
    kept: Mapping[str, int]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectExport:
    """All that is held of a number."""

    to: str
    verifications: tuple[RecordedVerification, ...]
    consents: tuple[ConsentEntry, ...]
    suppressions: tuple[Suppression, ...]
    inbound: tuple[InboundMessage, ...]
    erasures: tuple[Erasure, ...]
    webhooks: tuple[ToldWebhook, ...]
    looks: tuple[Look, ...]
    second_person_requests: tuple[SecondPersonRequest, ...]
    inbox: tuple[UnreadMessage, ...]
    refusals: tuple[Refusal, ...]
    counters: Counters | None
    recent: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFreeze:
    """How a user stands."""

    frozen: bool
    since: datetime | None
    ended: tuple[str, ...]
    """Verifications that this call ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorChange:
    """What happened to a factor."""

    factor: str
    change: str
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRecoveryCode:
    """What is recorded of a recovery code."""

    made_at: datetime
    ended_at: datetime | None
    used: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UserExport:
    """All that is held of a user."""

    factors: tuple[Factor, ...]
    factor_changes: tuple[FactorChange, ...]
    recovery_codes: tuple[RecordedRecoveryCode, ...]
    suppressions: tuple[Suppression, ...]
    webhooks: tuple[ToldWebhook, ...]
    events: tuple[Mapping[str, Any], ...]
    counters: Counters | None
    erasures: tuple[Erasure, ...]
    recent: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an application is told what happens."""

    id: str
    url: str
    types: tuple[str, ...]
    status: str
    """`enabled`, `disabled`, `failing` or `gone`."""
    failing_since: datetime | None
    created_at: datetime
    rotates_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedEndpoint:
    """An endpoint with a new secret, shown once."""

    secret: str = field(repr=False)
    endpoint: Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What goes once more."""

    webhooks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One call of an endpoint."""

    at: datetime
    milliseconds: int
    status: int | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """What became of a webhook at an endpoint."""

    id: str
    type: str
    verification: str | None
    endpoint: str
    sequence: int
    at: datetime
    status: str
    """`waiting`, `delivered`, `failed` or `held`."""
    next_try_at: datetime | None
    tries: tuple[Try, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """How many took at most so many milliseconds."""

    at_most_ms: int
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationStatsRow:
    """What became of verifications, by the hour in which they started. What `by` does not name is `None`."""

    hour: datetime | None
    day: datetime | None
    purpose: str | None
    country: str | None
    carrier_range: str | None
    channel: str | None
    lane: str | None
    started: int
    approved: int
    canceled: int
    max_attempts_reached: int
    failed: int
    expired: int
    """Those that nobody ended; while the row is unfinished some are pending."""
    unapproved: int
    sent: int | None
    delivered: int | None
    amount: str
    estimated_unapproved_amount: str
    unfinished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationStats:
    """Verifications, counted."""

    currency: str
    rows: tuple[VerificationStatsRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStatsRow:
    """What became of messages, by the hour in which their verifications started."""

    hour: datetime | None
    day: datetime | None
    purpose: str | None
    country: str | None
    channel: str | None
    gateway: str | None
    reason: str | None
    sent: int
    delivered: int
    undelivered: int
    failed: int
    expired: int
    unknown: int
    failed_over: int
    given_up: int
    amount: str
    unfinished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStats:
    """Messages, counted."""

    currency: str
    rows: tuple[MessageStatsRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalStatsRow:
    """What rules refused, by kind."""

    hour: datetime | None
    day: datetime | None
    purpose: str | None
    country: str | None
    carrier_range: str | None
    lane: str | None
    rule: str | None
    refused: Mapping[str, int]
    would_be_refused: Mapping[str, int]
    unfinished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalStats:
    """Refusals, counted."""

    rows: tuple[RefusalStatsRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayStatsRow:
    """How long it took from the start of verifications."""

    hour: datetime | None
    day: datetime | None
    country: str | None
    channel: str | None
    gateway: str | None
    until: str
    """`sent`, `delivered` or `approved`."""
    times: int
    within: tuple[Within, ...]
    p50_ms: int | None
    p95_ms: int | None
    unfinished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayStats:
    """Delays, counted."""

    rows: tuple[DelayStatsRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An application, and what it may do."""

    name: str
    source: str
    settings: Mapping[str, Any]
    created_at: datetime | None
    changed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is known of an API key."""

    id: str
    application: str
    scopes: tuple[str, ...]
    addresses: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A new key, shown once."""

    secret: str = field(repr=False)
    key: ApiKey


def read_answer(kind: type[T], value: Any) -> T:  # noqa: ANN401 - whatever JSON holds
    """Return JSON as what it shows; members that are not known yet are passed over, a missing one is `None`.

    Raises `ValueError` or `TypeError` where it shows something else.
    """
    read: T = _read(kind, value)
    return read


def _read(kind: Any, value: Any) -> Any:  # noqa: ANN401
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        return kind(**{name: _read(hint, value.get(name)) for name, hint in _members(kind).items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is types.UnionType:  # with None
        return None if value is None else _read(arguments[0], value)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(arguments[0], one) for one in value)
    if kind is datetime:
        return datetime.fromisoformat(value)
    expected = kind if kind in {str, int, bool} else dict
    if not isinstance(value, expected):
        raise TypeError("another type than expected")
    return value


@cache
def _members(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)
