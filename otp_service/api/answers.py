"""Answers. They are written from these types, and the specification is built from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter

from otp_service.api.exchange import Answer
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import CheckResult, Choice, Delivery, DeliveryStatus, Reason, Status
from otp_service.services.verifications import VerificationView
from otp_service.store.inbox import CaughtMessage

_SECOND = 1000
_DOCUMENTED = ConfigDict(use_attribute_docstrings=True)
_TIME = "2026-11-24T22:00:00Z"
_EXAMPLE: dict[str, JsonValue] = {
    "id": "vf_k1_0012ab34cd56ef7890a1b2c3d4e5f60718",
    "status": "pending",
    "to": "+92 ••• ••••567",
    "country": "PK",
    "channel": "sms",
    "purpose": "login",
    "locale": "en",
    "created_at": _TIME,
    "expires_at": "2026-11-24T22:05:00Z",
    "checks_left": 5,
    "sends_left": 2,
    "resend_after": "2026-11-24T22:00:30Z",
    "transaction": None,
    "metadata": {},
    "deliveries": [
        {
            "channel": "sms",
            "gateway": "primary",
            "status": "sent",
            "at": _TIME,
            "reason": None,
            "message": 1,
            "choice": "configured",
            "begun_at": _TIME,
            "raw_status": None,
        }
    ],
}
_CHECKED = {"id": _EXAMPLE["id"], "status": "pending", "valid": False, "checks_left": 4, "reason": "wrong_code"}

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=[_TIME])]
"""RFC 3339, UTC, whole seconds."""


@dataclass(frozen=True, slots=True)
class DeliveryAnswer:
    """One call to one gateway, or a message that waits for its first."""

    __pydantic_config__ = _DOCUMENTED

    channel: str
    """`sms`, `voice` or `whatsapp`."""
    gateway: str | None
    """Its name in the configuration; null while the message waits."""
    status: DeliveryStatus
    """What is known of the message:

    `queued`: it waits for a worker, or is being handed over.

    `sent`: the gateway took it.

    `delivered`: the gateway reported that the handset has it.

    `undelivered`: the gateway reported that the handset does not get it.

    `failed`: the gateway refused it; or no gateway was left to try.

    `expired`: the code's life ended before it was handed over; or the gateway reported that it became too old.

    `unknown`: nobody knows whether it went out: the gateway did not answer, or reported something new."""
    at: Time
    """When that became known."""
    reason: str | None
    """Why it did not work, in a few plain words: the kind of the failure and the provider's own code, such as
    `unavailable http 503`, what a receipt gave as the reason, or why the message was given up; otherwise null."""
    message: int
    """Which message of the verification it carried, from 1: a resend, or the next channel, makes another."""
    choice: Choice | None
    """Why this gateway: what kept the first one of the route from the message. Null while the message waits.

    `configured`: nothing, it is the first.

    `fail_over`: the first was called for this message, and failed.

    `already_tried`: the first carried an earlier message of this verification.

    `breaker`: the first is left alone for a while, because it failed or was slow.

    `limit`: the first is asked as much as it allows.

    `retry`: all were called for this message, and it is the first's turn again.

    `last_resort`: all are left alone, and one has to be tried."""
    begun_at: Time
    """When the gateway was called, or the message queued."""
    raw_status: str | None
    """The gateway's own word in its last report; null without one."""


@dataclass(frozen=True, slots=True)
class TransactionAnswer:
    """A payment in canonical form: what the code is a function of, and what the message shows."""

    __pydantic_config__ = _DOCUMENTED

    amount: str
    """Decimal with exactly the currency's own number of minor digits."""
    currency: str
    """ISO 4217."""
    payee: str
    account: str | None
    """The last four digits of the payer's own account, as in `from account 4821`."""
    reference: str | None


@dataclass(frozen=True, slots=True)
class VerificationAnswer:
    """One attempt to prove that a person holds a number."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True, json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    """What the other calls take."""
    status: Status
    """All but `pending` are final. It says nothing of the messages: a verification none of whose messages arrived is
    `pending` until its code ends. `failed`: a check brought another transaction."""
    to: str
    """The number, masked."""
    country: str
    """ISO 3166-1 alpha-2."""
    channel: str
    """Channel of the last message."""
    purpose: str
    """What the code is for."""
    locale: str
    """BCP 47: the language that the last message is in. Another one than the start asked for where the service has no
    words in that: the application's then, and English as the last resort."""
    created_at: Time
    expires_at: Time
    """When the code ends; later checks hear `expired`."""
    checks_left: int
    """Codes that will still be compared; 0 once it is final."""
    sends_left: int
    """Messages that may still be asked for."""
    resend_after: Time | None
    """When the next message may be asked for; null when none is left."""
    transaction: TransactionAnswer | None
    """In canonical form; null when the purpose confirms none."""
    metadata: Mapping[str, str]
    """The caller's own, as it was given at the start."""
    deliveries: tuple[DeliveryAnswer, ...]
    """What became of the messages, one entry a call to a gateway, in order: the last one is the news."""


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """What became of one code that a person typed."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True, json_schema_extra={"examples": [_CHECKED]})

    id: str
    """The verification."""
    status: Status
    """Of the verification, after this check. All but `pending` are final."""
    valid: bool
    """Whether the code is right: let the person in only when this is true, and go by nothing else."""
    checks_left: int
    """Codes that will still be compared; 0 once the verification is final."""
    reason: Reason | None
    """Why the code is not valid; null when it is.

    `wrong_code`: it was compared, and counted.

    `expired`: its life is over.

    `already_approved`: it was right before, and is used up.

    `canceled`: the verification was canceled.

    `max_attempts_reached`: all guesses are used; a right code is answered alike.

    `number_locked`: too many wrong codes for this number, over all its verifications.

    `transaction_changed`: it was started for another transaction; this ends the verification as `failed`.

    `failed`: a changed transaction ended the verification before."""


@dataclass(frozen=True, slots=True)
class CaughtAnswer:
    """A message that the sandbox gateway caught instead of sending it."""

    __pydantic_config__ = _DOCUMENTED

    verification: str
    to: str
    """The number, masked."""
    channel: str
    sender: str | None
    """The registered name that the handset would show; `null` where it is the gateway's own."""
    text: str
    """The message as the handset would show it, the code in it."""
    at: Time


@dataclass(frozen=True, slots=True)
class HealthAnswer:
    """Whether the service can work, and what was found."""

    status: str
    details: Mapping[str, Any]


VERIFICATION: TypeAdapter[VerificationAnswer] = TypeAdapter(VerificationAnswer)
CHECK: TypeAdapter[CheckAnswer] = TypeAdapter(CheckAnswer)
CAUGHT: TypeAdapter[list[CaughtAnswer]] = TypeAdapter(list[CaughtAnswer])
HEALTH: TypeAdapter[HealthAnswer] = TypeAdapter(HealthAnswer)


def rfc3339(milliseconds: int) -> str:
    """Return a time in milliseconds since the epoch as RFC 3339, UTC, the second that it is in."""
    return _rfc3339(milliseconds // _SECOND)


@lru_cache(maxsize=1024)  # within a second all requests tell the same few times
def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def verification_answer(view: VerificationView) -> VerificationAnswer:
    """Return what a caller is told of a verification."""
    verification = view.verification
    after = verification.resend_after
    return VerificationAnswer(
        id=verification.id,
        status=verification.status,
        to=view.mask,
        country=verification.country,
        channel=verification.channel,
        purpose=verification.purpose.name,
        locale=view.locale,
        created_at=rfc3339(verification.created),
        expires_at=rfc3339(verification.expires),
        checks_left=verification.checks_left,
        sends_left=verification.sends_left,
        # The next whole second: whoever asks at the time that was told shall not be too early.
        resend_after=None if after is None else rfc3339(after + _SECOND - 1),
        transaction=_transaction_answer(view.details.transaction),
        metadata=view.details.metadata,
        deliveries=tuple(map(_delivery_answer, verification.deliveries)),
    )


def _transaction_answer(transaction: Transaction | None) -> TransactionAnswer | None:
    if transaction is None:
        return None
    return TransactionAnswer(
        transaction.amount, transaction.currency, transaction.payee, transaction.account, transaction.reference
    )


def _delivery_answer(delivery: Delivery) -> DeliveryAnswer:
    return DeliveryAnswer(
        channel=delivery.channel,
        gateway=delivery.gateway,
        status=delivery.status,
        at=rfc3339(delivery.at),
        reason=delivery.reason,
        message=delivery.message,
        choice=delivery.choice,
        begun_at=rfc3339(delivery.begun),
        raw_status=delivery.raw_status,
    )


def caught_answer(message: CaughtMessage) -> CaughtAnswer:
    """Return a caught message as its caller may see it."""
    at = rfc3339(message.at)
    return CaughtAnswer(message.verification, message.to, message.channel, message.sender, message.text, at)


def answer_with_verification(view: VerificationView, status: int = 200) -> Answer:
    """Return the answer that shows a verification."""
    return Answer(VERIFICATION.dump_json(verification_answer(view)), status)


def answer_with_check(result: CheckResult) -> Answer:
    """Return the answer that tells the result of a check."""
    answer = CheckAnswer(result.id, result.status, result.valid, result.checks_left, result.reason)
    return Answer(CHECK.dump_json(answer))
