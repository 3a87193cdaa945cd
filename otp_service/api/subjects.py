"""Data subjects: freeze, export, erasure. The number, or the user, is in the body, never in an address."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict

from otp_service.api.consents import ConsentEntryAnswer, consent_entry_answer
from otp_service.api.exchange import Exchange
from otp_service.api.factors import USER_EXAMPLE, FactorAnswer, UserBody, factor_answer, read_user
from otp_service.api.requests import read_number
from otp_service.api.routes import COMMON_PROBLEMS, NUMBER_PROBLEMS, Resource
from otp_service.api.schemas import NUMBER_EXAMPLE, NumberBody, Reason, Time, rfc3339_or_none
from otp_service.api.suppressions import SuppressionAnswer, suppression_answer
from otp_service.clock import rfc3339
from otp_service.domain.applications import KeyScope
from otp_service.domain.consents import EVERY_APPLICATION, SuppressionSource
from otp_service.domain.numbers import SubjectKey
from otp_service.domain.verification import Status
from otp_service.ledger.subjects import Erasure, SubjectData
from otp_service.ledger.verifications import RecordedVerification
from otp_service.services.factors import view_of
from otp_service.services.subjects import FreezeStatus, SubjectExport, erase, export, freeze, unfreeze
from otp_service.store.events import Decision


class FreezeBody(NumberBody):
    """A number of which fraud was reported."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [NUMBER_EXAMPLE | {"reason": "customer reports fraud, case A-17"}]}
    )

    reason: Reason = ""
    """What was said of it, for people who ask later; no personal data."""


@dataclass(frozen=True, slots=True)
class FreezeAnswer:
    """How a number stands: frozen, or not any more."""

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
class RecordedVerificationAnswer:
    """A verification as the ledger keeps it."""

    id: str
    purpose: str
    country: str
    started_at: Time
    expires_at: Time | None
    """When its code does; like the next ones null until that is recorded."""
    channel: str | None
    """Of its first message."""
    carrier_range: str | None
    """The number's first digits, those of a carrier."""
    lane: str | None
    """`newcomer`, `checked` or `known`: whether the number was known then."""
    status: Status
    """As far as it is recorded."""
    ended_at: Time | None
    events: tuple[Mapping[str, Any], ...]
    """What happened, oldest first: `type`, `at`, and what goes with it, such as `gateway`, `channel`, `reason`."""


@dataclass(frozen=True, slots=True)
class InboundMessageAnswer:
    """A message that came from the number. Its text is not kept."""

    gateway: str
    meaning: str
    """`stop`, `start`, `help` or `other`."""
    received_at: Time


@dataclass(frozen=True, slots=True)
class WebhookDeliveryAnswer:
    """A webhook on its way to an endpoint."""

    endpoint: str
    sequence: int
    status: str
    tries: tuple[Mapping[str, Any], ...]
    """The last ones, oldest first: `at`, `milliseconds`, the `status` of the answer, `reason`."""


@dataclass(frozen=True, slots=True)
class RecordedWebhookAnswer:
    """A webhook about a verification of the number, or about the user."""

    id: str
    verification: str | None
    """Null in one about a user."""
    type: str
    at: Time
    details: Mapping[str, Any]
    """What it tells beside that."""
    deliveries: tuple[WebhookDeliveryAnswer, ...]


@dataclass(frozen=True, slots=True)
class LookAnswer:
    """That somebody at the operator looked at what is held."""

    at: Time
    by: str
    """A user of the operator's console."""
    view: str
    """At which page: `find`, `compliance`, `export` or another."""
    reason: str | None
    """Why, as they wrote it; null where they did not, or after an erasure."""


@dataclass(frozen=True, slots=True)
class SecondPersonRequestAnswer:
    """That somebody at the operator asked for what takes two people."""

    at: Time
    by: str
    """A user of the operator's console."""
    act: str
    """What was asked for: `erase`, `unfreeze` or `lift-suppression`."""
    reason: str | None
    """Why; null after an erasure."""
    decided_at: Time | None
    """When another user decided, or whoever asked took it back; null until then."""
    decided_by: str | None
    outcome: str | None
    """`done`, `nothing-left` where nothing was there to be done, `declined`; `taken` while it is done; null until
    somebody decides."""


@dataclass(frozen=True, slots=True)
class UnreadMessageAnswer:
    """A message from the number that waits to be read by the operator's support, for some days."""

    gateway: str
    text: str = field(repr=False)
    received_at: Time


@dataclass(frozen=True, slots=True)
class RefusalAnswer:
    """Something that a rule of the guard refused, or would have refused."""

    at: Time
    rule: str
    mode: str
    """`enforce`, or `record_only`: then it was let through."""
    kind: str
    """What was refused: `start`, `resend`, `check` or another."""
    purpose: str
    country: str
    verification: str | None
    """Null where none was made."""


@dataclass(frozen=True, slots=True)
class CountersAnswer:
    """What limits count at the application, and the devices that it knows: times, the newest first."""

    approved_at: Time | None
    """When a device of the application was approved last."""
    devices: tuple[Time, ...]
    """When each of the application's devices was approved last that is known (`context`)."""
    messages: tuple[Time, ...]
    """Messages to these devices; those of all applications are in the operator's export."""
    wrong_codes: tuple[Time, ...]
    locked_until: Time | None


@dataclass(frozen=True, slots=True)
class ErasureAnswer:
    """What an erasure did."""

    at: Time
    erased: Mapping[str, int]
    """What is gone: `consents`, from how many the address, `source` and `text_version`; `suppressions`, of how many the
    reason; `inbound`, of how many messages who wrote them; `inbox`, how many waited to be read; `looks` and
    `second_person_requests`, why somebody looked or asked; of a user, if there were any, `factors` and
    `recovery_codes`."""
    kept: Mapping[str, int]
    """Rows that stay, under a pseudonym, by table."""
    reason: str
    """Why they stay."""


@dataclass(frozen=True, slots=True)
class SubjectExportAnswer:
    """All that is held of a number within the application."""

    to: str
    """The number, masked: it is not held, but for the minutes until its message is sent."""
    verifications: tuple[RecordedVerificationAnswer, ...]
    consents: tuple[ConsentEntryAnswer, ...]
    suppressions: tuple[SuppressionAnswer, ...]
    inbound: tuple[InboundMessageAnswer, ...]
    erasures: tuple[ErasureAnswer, ...]
    webhooks: tuple[RecordedWebhookAnswer, ...]
    """What the application was told, as long as that is kept."""
    looks: tuple[LookAnswer, ...]
    """Who looked at the number at the operator's console, whichever application it was about."""
    second_person_requests: tuple[SecondPersonRequestAnswer, ...]
    """What was asked for there that takes two people, such as an erasure: for the application, or for all."""
    inbox: tuple[UnreadMessageAnswer, ...]
    refusals: tuple[RefusalAnswer, ...]
    """For a week."""
    counters: CountersAnswer | None
    """What is counted of the number at the application; null for nothing."""
    recent: tuple[str, ...]
    """Identifiers of verifications that are in Redis too, until some minutes after their codes: read each of them.
    docs/subjects.md lists what else is there."""


subjects = Resource("subjects", "Subjects", KeyScope.SUBJECTS, problems=NUMBER_PROBLEMS, asks_ledger=True)


@subjects.route("POST /v1/subjects/freeze", {200: "How the number stands."})
def freeze_subject(exchange: Exchange, body: FreezeBody) -> FreezeAnswer:
    """Freeze a number.

    For a customer who reports fraud. Once this is answered no code of the number is approved for the application, its
    last verifications are canceled where they are pending, no message is handed to a gateway, and starts and resends
    are refused as `recipient-frozen`, until the freeze is lifted. Earlier proofs of the number are not accepted any
    more, even afterwards. Other applications' verifications are left alone. To freeze again does no harm, and cancels
    again what is pending.
    """
    to = read_number(exchange, body)
    return _freeze(to, freeze(exchange.context, to, exchange.application.name, SuppressionSource.API, body.reason))


@subjects.route("POST /v1/subjects/unfreeze", {200: "How the number stands."})
def unfreeze_subject(exchange: Exchange, body: NumberBody) -> FreezeAnswer:
    """Lift a freeze.

    Lets verifications of the number start again within the application. What was pending before stays ended, and what
    the operator froze for all stays frozen: then `frozen` is still true.
    """
    to = read_number(exchange, body)
    found, _ = unfreeze(exchange.context, to, exchange.application.name, SuppressionSource.API)
    return _freeze(to, found)


@subjects.route("POST /v1/subjects/export", {200: "All of it."})
def export_subject(exchange: Exchange, body: NumberBody) -> SubjectExportAnswer:
    """Show what is held.

    Shows all that is held of a number within the application: for the person who asks for it.
    """
    return export_answer(export(exchange.context, read_number(exchange, body), exchange.application.name))


@subjects.route("POST /v1/subjects/erase", {200: "What was done."})
def erase_subject(exchange: Exchange, body: NumberBody) -> ErasureAnswer:
    """Erase what is not needed.

    Erases what no dispute needs of a number within the application; the rest stays under a pseudonym, and the answer
    says why. No limit, lock or suppression is touched. Pending verifications are canceled, and earlier proofs of the
    number are not accepted any more.
    """
    return _erasure(erase(exchange.context, read_number(exchange, body), exchange.application.name))


class UserFreezeBody(UserBody):
    """A user of whom fraud was reported."""

    model_config = ConfigDict(json_schema_extra={"examples": [USER_EXAMPLE | {"reason": "phone stolen, case A-17"}]})

    reason: Reason = ""
    """What was said of it, for people who ask later; no personal data."""


@dataclass(frozen=True, slots=True)
class UserFreezeAnswer:
    """How a user stands: frozen, or not any more."""

    frozen: bool
    """Whether nothing starts for the user, and no code is accepted."""
    since: Time | None
    """From when on; null when the user is not frozen."""
    ended: tuple[str, ...]
    """Identifiers of the verifications that were pending, and were ended by this call."""


@dataclass(frozen=True, slots=True)
class FactorChangeAnswer:
    """What happened to a factor."""

    factor: str
    change: str
    """`activated`, `removed`, `resealed`, or `step_reset`: a clock had run ahead."""
    reason: str | None
    """Why it was removed, in one word; null where a code removed it."""
    at: Time


@dataclass(frozen=True, slots=True)
class RecordedRecoveryCodeAnswer:
    """What is recorded of a recovery code; the code itself is not."""

    made_at: Time
    ended_at: Time | None
    """When it was used, or replaced by a new series."""
    used: bool


@dataclass(frozen=True, slots=True)
class UserExportAnswer:
    """All that is held of a user, whose name is not held. docs/subjects.md lists what is not shown."""

    factors: tuple[FactorAnswer, ...]
    """Also those that were removed."""
    factor_changes: tuple[FactorChangeAnswer, ...]
    """Oldest first."""
    recovery_codes: tuple[RecordedRecoveryCodeAnswer, ...]
    suppressions: tuple[SuppressionAnswer, ...]
    """Freezes."""
    webhooks: tuple[RecordedWebhookAnswer, ...]
    """What the application was told, as long as that is kept."""
    events: tuple[Mapping[str, Any], ...]
    """What happened, oldest first: `type`, `at`, the `factor`, empty for a recovery code, and what goes with it."""
    counters: CountersAnswer | None
    erasures: tuple[ErasureAnswer, ...]
    recent: tuple[str, ...]
    """Identifiers of verifications that name the user and are in Redis, until some minutes after their codes."""


users = Resource(
    "users",
    "Subjects",
    KeyScope.SUBJECTS,
    problems=(*COMMON_PROBLEMS, "ledger-mismatch"),
    asks_ledger=True,
)


@users.route("POST /v1/users/freeze", {200: "How the user stands."})
def freeze_user(exchange: Exchange, body: UserFreezeBody) -> UserFreezeAnswer:
    """Freeze a user.

    For a customer who reports fraud. Once this is answered no code of the user's authenticator apps and no recovery
    code is accepted, verifications that name the `user` are canceled where they are pending, and starts are refused as
    `recipient-frozen`, until the freeze is lifted. Earlier proofs of the user are not accepted any more, even
    afterwards. The user's number is left alone: freeze it too.
    """
    user = read_user(exchange, body)
    return _user_freeze(freeze(exchange.context, user, user.application, SuppressionSource.API, body.reason))


@users.route("POST /v1/users/unfreeze", {200: "How the user stands."})
def unfreeze_user(exchange: Exchange, body: UserBody) -> UserFreezeAnswer:
    """Lift the freeze of a user."""
    user = read_user(exchange, body)
    found, _ = unfreeze(exchange.context, user, user.application, SuppressionSource.API)
    return _user_freeze(found)


@users.route("POST /v1/users/export", {200: "All of it."})
def export_user(exchange: Exchange, body: UserBody) -> UserExportAnswer:
    """Show what is held of a user.

    For the person who asks for it.
    """
    user = read_user(exchange, body)
    found = export(exchange.context, user, user.application)
    held = found.holding
    return UserExportAnswer(
        factors=tuple(factor_answer(view_of(exchange.context, one)) for one in held.factors),
        factor_changes=tuple(
            FactorChangeAnswer(one["factor"], one["change"], one["reason"] or None, rfc3339(one["recorded"]))
            for one in held.factor_changes
        ),
        recovery_codes=tuple(
            RecordedRecoveryCodeAnswer(rfc3339(one.made), rfc3339_or_none(one.ended), one.used)
            for one in held.recovery_codes
        ),
        suppressions=tuple(map(suppression_answer, held.suppressions)),
        webhooks=tuple(map(_told, held.webhooks)),
        events=_events(held.events),
        counters=_counters(found),
        erasures=_erasures(held),
        recent=tuple(one.id for one in found.recent),
    )


@users.route("POST /v1/users/erase", {200: "What was done."})
def erase_user(exchange: Exchange, body: UserBody) -> ErasureAnswer:
    """Erase a user.

    Removes the user's authenticator apps and recovery codes: secrets and labels are gone. That there were any stays,
    under a pseudonym. No lock is touched. Pending verifications that name the user are canceled, and earlier proofs of
    the user are not accepted any more.
    """
    return _erasure(erase(exchange.context, read_user(exchange, body), exchange.application.name))


def _user_freeze(found: FreezeStatus) -> UserFreezeAnswer:
    entries = found.entries
    return UserFreezeAnswer(bool(entries), rfc3339(entries[0].recorded) if entries else None, found.ended)


def _erasure(done: Erasure) -> ErasureAnswer:
    return ErasureAnswer(rfc3339(done.at), done.erased, done.kept, done.reason)


def _erasures(held: SubjectData) -> tuple[ErasureAnswer, ...]:
    return tuple(ErasureAnswer(rfc3339(one["at"]), one["erased"], one["kept"], one["reason"]) for one in held.erasures)


def _freeze(to: SubjectKey, found: FreezeStatus) -> FreezeAnswer:
    entries = found.entries
    return FreezeAnswer(
        to=to.destination.mask,
        frozen=bool(entries),
        everywhere=any(one.application == EVERY_APPLICATION for one in entries),
        since=rfc3339(entries[0].recorded) if entries else None,
        reason=(entries[-1].reason or None) if entries else None,
        ended=found.ended,
    )


def export_answer(export: SubjectExport) -> SubjectExportAnswer:
    """Return what shows all that is held within one application."""
    held = export.holding
    return SubjectExportAnswer(
        to=export.mask,
        verifications=tuple(map(_past, held.verifications)),
        consents=tuple(map(consent_entry_answer, held.consents)),
        suppressions=tuple(map(suppression_answer, held.suppressions)),
        inbound=tuple(
            InboundMessageAnswer(one["gateway"], one["meaning"], rfc3339(one["received"])) for one in held.inbound
        ),
        erasures=_erasures(held),
        webhooks=tuple(map(_told, held.webhooks)),
        looks=tuple(
            LookAnswer(rfc3339(one["at"]), one["by"], one["view"], one["reason"] or None) for one in held.looks
        ),
        second_person_requests=tuple(map(_request, held.second_person_requests)),
        inbox=tuple(UnreadMessageAnswer(one.gateway, one.text, rfc3339(one.received)) for one in export.inbox),
        refusals=tuple(map(_refusal, export.refusals)),
        counters=_counters(export),
        recent=tuple(one.id for one in export.recent),
    )


def _told(webhook: Mapping[str, Any]) -> RecordedWebhookAnswer:
    deliveries = (
        WebhookDeliveryAnswer(
            endpoint=each["endpoint"],
            sequence=each["sequence"],
            status=each["status"],
            tries=tuple({**tried, "at": rfc3339(tried["at"])} for tried in each["attempts"]),
        )
        for each in webhook["deliveries"]
    )
    names = (webhook["id"], webhook["verification"] or None, webhook["type"])
    return RecordedWebhookAnswer(*names, rfc3339(webhook["at"]), webhook["details"], tuple(deliveries))


def _counters(export: SubjectExport) -> CountersAnswer | None:
    for counters in export.counters.values():
        return CountersAnswer(
            approved_at=rfc3339_or_none(counters.approved or None),
            devices=tuple(map(rfc3339, counters.devices)),
            messages=tuple(map(rfc3339, counters.messages)),
            wrong_codes=tuple(map(rfc3339, counters.wrong_codes)),
            locked_until=rfc3339_or_none(counters.locked_until or None),
        )
    return None


def _refusal(decision: Decision) -> RefusalAnswer:
    return RefusalAnswer(
        at=rfc3339(decision.at),
        rule=decision.rule,
        mode=decision.mode,
        kind=decision.kind,
        purpose=decision.purpose,
        country=decision.country,
        verification=decision.verification or None,
    )


def _request(one: Mapping[str, Any]) -> SecondPersonRequestAnswer:
    return SecondPersonRequestAnswer(
        at=rfc3339(one["at"]),
        by=one["by"],
        act=one["act"],
        reason=one["reason"] or None,
        decided_at=rfc3339_or_none(one["decided"]),
        decided_by=one["decided_by"] or None,
        outcome=one["outcome"] or None,
    )


def _past(past: RecordedVerification) -> RecordedVerificationAnswer:
    return RecordedVerificationAnswer(
        id=past.id,
        purpose=past.purpose,
        country=past.country,
        started_at=rfc3339(past.started),
        expires_at=rfc3339_or_none(past.expires or None),
        channel=past.channel or None,
        carrier_range=past.carrier_range or None,
        lane=past.lane or None,
        status=Status(past.status),
        ended_at=rfc3339(past.ended) if past.ended else None,
        events=_events(past.events),
    )


def _events(happened: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    return tuple({**event, "at": rfc3339(event["at"])} for event in happened)
