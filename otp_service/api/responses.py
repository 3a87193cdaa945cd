"""Bodies of answers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from flask import Response
from pydantic import ConfigDict, Field, JsonValue, TypeAdapter

from otp_service.api.exchange import JSON, Answer
from otp_service.domain.applications import ApiKey
from otp_service.domain.payments import Transaction
from otp_service.domain.people import (
    EVERY_APPLICATION,
    Consent,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    freezes,
)
from otp_service.domain.verification import CheckResult, Choice, Delivery, DeliveryStatus, Reason, Status
from otp_service.ledger.traffic import Erasure, Past
from otp_service.services.access import Issued
from otp_service.services.people import ConsentView, Export, FreezeStanding
from otp_service.services.verifications import VerificationView
from otp_service.settings.stored import Kept
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


@dataclass(frozen=True, slots=True)
class ConsentEntryAnswer:
    """A consent, or its withdrawal, as it was recorded. An entry is never changed."""

    __pydantic_config__ = _DOCUMENTED

    status: Literal["given", "withdrawn"]
    purpose: str
    recorded_at: Time
    text_version: str | None = None
    """Like the next ones null in a withdrawal."""
    text_sha256: str | None = None
    locale: str | None = None
    channel: str | None = None
    given_at: Time | None = None
    source: str | None = None
    address_prefix: str | None = None
    """The end user's address without its last part; null where it is not known, or was erased."""


@dataclass(frozen=True, slots=True)
class ConsentAnswer:
    """What is recorded of a number's consent to a purpose."""

    __pydantic_config__ = _DOCUMENTED

    to: str
    """The number, masked."""
    purpose: str
    status: Literal["given", "withdrawn", "none"]
    """The last entry's; `none` when there is none."""
    entries: tuple[ConsentEntryAnswer, ...]
    """Oldest first."""


@dataclass(frozen=True, slots=True)
class SuppressionAnswer:
    """That a number gets no messages, or gets them again, as it was recorded. An entry is never changed."""

    __pydantic_config__ = _DOCUMENTED

    scope: SuppressionScope
    lifted: bool
    """Whether the entry lets messages through again."""
    source: SuppressionSource
    everywhere: bool
    """Whether the operator said it, for all applications."""
    reason: str | None
    until: Time | None
    """When it ends by itself; null for never."""
    recorded_at: Time


@dataclass(frozen=True, slots=True)
class SuppressionsAnswer:
    """What is recorded of the messages that a number is not to get."""

    __pydantic_config__ = _DOCUMENTED

    to: str
    """The number, masked."""
    suppressed: bool
    """Whether a start for it is refused now, as `recipient-suppressed`."""
    frozen: bool
    """Whether it is refused now as `recipient-frozen`, which goes before."""
    entries: tuple[SuppressionAnswer, ...]
    """Oldest first."""


@dataclass(frozen=True, slots=True)
class FreezeAnswer:
    """How a number stands: frozen, or not any more."""

    __pydantic_config__ = _DOCUMENTED

    to: str
    """The number, masked."""
    frozen: bool
    """Whether nothing starts, goes out or is approved for it within the application."""
    everywhere: bool
    """Whether the operator has frozen it for all applications, which only the operator lifts."""
    since: Time | None
    """From when on; like the reason null when it is not frozen."""
    reason: str | None
    """What was said of it last; null where nothing was."""
    ended: tuple[str, ...]
    """Identifiers of the verifications that were pending, and were ended by this call."""


@dataclass(frozen=True, slots=True)
class PastAnswer:
    """A verification as the ledger keeps it."""

    __pydantic_config__ = _DOCUMENTED

    id: str
    purpose: str
    country: str
    started_at: Time
    status: Status
    """As far as it is recorded."""
    ended_at: Time | None
    events: tuple[Mapping[str, Any], ...]
    """What happened, oldest first: `type`, `at`, and what goes with it, such as `gateway`, `channel`, `reason`."""


@dataclass(frozen=True, slots=True)
class WrittenBackAnswer:
    """A message that came from the number. Its text is not kept."""

    __pydantic_config__ = _DOCUMENTED

    gateway: str
    meaning: str
    """`stop`, `start`, `help` or `other`."""
    received_at: Time


@dataclass(frozen=True, slots=True)
class ErasureAnswer:
    """What an erasure did."""

    __pydantic_config__ = _DOCUMENTED

    at: Time
    erased: Mapping[str, int]
    """What is gone: `consents`, from how many the address, `source` and `text_version`; `suppressions`, of how many the
    reason; `inbound`, of how many messages who wrote them."""
    kept: Mapping[str, int]
    """Rows that stay, under a pseudonym, by table."""
    reason: str
    """Why they stay."""


@dataclass(frozen=True, slots=True)
class ExportAnswer:
    """All that is held of a number within the application."""

    __pydantic_config__ = _DOCUMENTED

    to: str
    """The number, masked: it is not held, but for the minutes until its message is sent."""
    verifications: tuple[PastAnswer, ...]
    consents: tuple[ConsentEntryAnswer, ...]
    suppressions: tuple[SuppressionAnswer, ...]
    inbound: tuple[WrittenBackAnswer, ...]
    erasures: tuple[ErasureAnswer, ...]
    passing: tuple[str, ...]
    """Identifiers of verifications that are in Redis too, until some minutes after their codes. What else is
    there, under the pseudonym, are counters, and for a week what happened lately: docs/data.md has all of it."""


CONSENT: TypeAdapter[ConsentAnswer] = TypeAdapter(ConsentAnswer)
SUPPRESSIONS: TypeAdapter[SuppressionsAnswer] = TypeAdapter(SuppressionsAnswer)
FREEZE: TypeAdapter[FreezeAnswer] = TypeAdapter(FreezeAnswer)
EXPORT: TypeAdapter[ExportAnswer] = TypeAdapter(ExportAnswer)
ERASURE: TypeAdapter[ErasureAnswer] = TypeAdapter(ErasureAnswer)


def consent_response(view: ConsentView) -> Response:
    """Return the response that shows what is recorded of a consent."""
    answer = ConsentAnswer(view.mask, view.purpose, view.status, tuple(map(_consent, view.entries)))
    return Response(CONSENT.dump_json(answer), mimetype=JSON)


def suppressions_response(mask: str, entries: tuple[Suppression, ...], *, suppressed: bool) -> Response:
    """Return the response that shows what is recorded of suppressions."""
    answer = SuppressionsAnswer(mask, suppressed, bool(freezes(entries)), tuple(map(_suppression, entries)))
    return Response(SUPPRESSIONS.dump_json(answer), mimetype=JSON)


def freeze_response(mask: str, found: FreezeStanding) -> Response:
    """Return the response that shows how a number stands."""
    entries = found.entries
    answer = FreezeAnswer(
        to=mask,
        frozen=bool(entries),
        everywhere=any(one.application == EVERY_APPLICATION for one in entries),
        since=rfc3339(entries[0].recorded) if entries else None,
        reason=(entries[-1].reason or None) if entries else None,
        ended=found.ended,
    )
    return Response(FREEZE.dump_json(answer), mimetype=JSON)


def export_response(export: Export) -> Response:
    """Return the response that shows all that is held."""
    return Response(EXPORT.dump_json(export_answer(export)), mimetype=JSON)


def export_answer(export: Export) -> ExportAnswer:
    """Return what shows all that is held within one application."""
    held = export.holding
    return ExportAnswer(
        to=export.mask,
        verifications=tuple(map(_past, held.verifications)),
        consents=tuple(map(_consent, held.consents)),
        suppressions=tuple(map(_suppression, held.suppressions)),
        inbound=tuple(
            WrittenBackAnswer(one["gateway"], one["meaning"], rfc3339(one["received"])) for one in held.inbound
        ),
        erasures=tuple(
            ErasureAnswer(rfc3339(one["at"]), one["erased"], one["kept"], one["reason"]) for one in held.erasures
        ),
        passing=tuple(one.id for one in export.passing),
    )


def erasure_response(done: Erasure) -> Response:
    """Return the response that tells what was erased."""
    answer = ErasureAnswer(rfc3339(done.at), done.erased, done.kept, done.reason)
    return Response(ERASURE.dump_json(answer), mimetype=JSON)


def _consent(entry: Consent) -> ConsentEntryAnswer:
    shown, recorded = entry.evidence, rfc3339(entry.recorded)
    if shown is None:
        return ConsentEntryAnswer("withdrawn", entry.purpose, recorded)
    return ConsentEntryAnswer(
        status="given",
        purpose=entry.purpose,
        recorded_at=recorded,
        text_version=shown.text_version,
        text_sha256=shown.text_sha256,
        locale=shown.locale,
        channel=shown.channel,
        given_at=rfc3339(shown.given),
        source=shown.source,
        address_prefix=shown.address_prefix or None,
    )


def _suppression(entry: Suppression) -> SuppressionAnswer:
    return SuppressionAnswer(
        scope=entry.scope,
        lifted=entry.lifted,
        source=entry.source,
        everywhere=entry.application == EVERY_APPLICATION,
        reason=entry.reason or None,
        until=None if entry.until is None else rfc3339(entry.until),
        recorded_at=rfc3339(entry.recorded),
    )


def _past(past: Past) -> PastAnswer:
    return PastAnswer(
        id=past.id,
        purpose=past.purpose,
        country=past.country,
        started_at=rfc3339(past.started),
        status=Status(past.status),
        ended_at=rfc3339(past.ended) if past.ended else None,
        events=tuple({**event, "at": rfc3339(event["at"])} for event in past.events),
    )


@dataclass(frozen=True, slots=True)
class ApplicationAnswer:
    """An application, and what it may do."""

    __pydantic_config__ = _DOCUMENTED

    name: str
    source: Literal["configuration", "ledger"]
    """Where it is kept. One of the configuration is changed there, and by nothing here; its keys can be either's."""
    settings: Mapping[str, Any]
    """Its section as in a configuration file, without keys: what was given, the rest has its default."""
    created_at: Time | None
    """Null for one of the configuration, as is the next."""
    changed_at: Time | None


@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """What is known of an API key of the ledger."""

    __pydantic_config__ = _DOCUMENTED

    id: str
    """Its name, which is no secret."""
    application: str
    scopes: tuple[str, ...]
    """What it may be used for."""
    addresses: tuple[str, ...]
    """Networks that it may be used from; empty for anywhere."""
    created_at: Time
    expires_at: Time | None
    """When it ends because another replaces it; null for never."""
    revoked_at: Time | None
    last_used_at: Time | None
    """To the minute; null when it never was."""


@dataclass(frozen=True, slots=True)
class IssuedKeyAnswer:
    """A new key. It is shown this once, and kept nowhere."""

    __pydantic_config__ = _DOCUMENTED

    secret: str
    """What the application sends: `Authorization: Bearer SECRET`."""
    key: KeyAnswer


APPLICATION: TypeAdapter[ApplicationAnswer] = TypeAdapter(ApplicationAnswer)
APPLICATIONS: TypeAdapter[list[ApplicationAnswer]] = TypeAdapter(list[ApplicationAnswer])
KEY: TypeAdapter[KeyAnswer] = TypeAdapter(KeyAnswer)
KEYS: TypeAdapter[list[KeyAnswer]] = TypeAdapter(list[KeyAnswer])
ISSUED: TypeAdapter[IssuedKeyAnswer] = TypeAdapter(IssuedKeyAnswer)


def application_answer(kept: Kept) -> ApplicationAnswer:
    """Return what is told of an application."""
    created, changed = (None if at is None else rfc3339(at) for at in (kept.created, kept.changed))
    return ApplicationAnswer(kept.name, kept.source, kept.members, created, changed)


def application_response(answer: ApplicationAnswer, status: int = 200) -> Response:
    """Return the response that shows an application."""
    return Response(APPLICATION.dump_json(answer), status, mimetype=JSON)


def applications_response(answers: Iterable[ApplicationAnswer]) -> Response:
    """Return the response that lists applications."""
    return Response(APPLICATIONS.dump_json(list(answers)), mimetype=JSON)


def key_response(key: ApiKey) -> Response:
    """Return the response that shows what is known of a key."""
    return Response(KEY.dump_json(_key(key)), mimetype=JSON)


def keys_response(keys: Iterable[ApiKey]) -> Response:
    """Return the response that lists keys."""
    return Response(KEYS.dump_json(list(map(_key, keys))), mimetype=JSON)


def issued_response(issued: Issued) -> Response:
    """Return the only response that shows a key itself."""
    answer = IssuedKeyAnswer(issued.secret, _key(issued.key))
    return Response(ISSUED.dump_json(answer), 201, mimetype=JSON)


def _key(key: ApiKey) -> KeyAnswer:
    return KeyAnswer(
        id=key.id,
        application=key.application,
        scopes=tuple(sorted(key.scopes)),
        addresses=tuple(map(str, key.networks)),
        created_at=rfc3339(key.created),
        expires_at=_time(key.expires),
        revoked_at=_time(key.revoked),
        last_used_at=_time(key.used),
    )


def _time(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else rfc3339(milliseconds)
