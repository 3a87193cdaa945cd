"""Answers with the data of a number or user, for API, console and command line."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from otp_service.clock import rfc3339
from otp_service.domain.consents import EVERY_APPLICATION, Consent, Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.numbers import Named
from otp_service.domain.verification import Status
from otp_service.ledger.subjects import SubjectData
from otp_service.ledger.verifications import RecordedVerification
from otp_service.services.context import Context
from otp_service.services.json_types import Time
from otp_service.services.subjects import SubjectExport, export
from otp_service.store.events import Decision


@dataclass(frozen=True, slots=True)
class ConsentEntryAnswer:
    """A consent or its withdrawal, as recorded. An entry is never changed."""

    status: Literal["given", "withdrawn"]
    purpose: str
    recorded_at: Time
    text_version: str | None = None
    """Null in a withdrawal, like the members below."""
    text_sha256: str | None = None
    locale: str | None = None
    channel: str | None = None
    given_at: Time | None = None
    source: str | None = None
    address_prefix: str | None = None
    """The end user's address without its last part; null if unknown or erased."""


@dataclass(frozen=True, slots=True)
class SuppressionAnswer:
    """A suppression or its lifting, as recorded. An entry is never changed."""

    scope: SuppressionScope
    lifted: bool
    """Whether the entry lets messages through again."""
    source: SuppressionSource
    everywhere: bool
    """Whether the operator recorded it for all applications."""
    reason: str | None
    until: Time | None
    """Its end; null for none."""
    recorded_at: Time


@dataclass(frozen=True, slots=True)
class RecordedVerificationAnswer:
    """A verification in the ledger."""

    id: str
    purpose: str
    country: str
    started_at: Time
    expires_at: Time | None
    """The end of its code; null until it is recorded, like the members below."""
    channel: str | None
    """Of its first message."""
    number_prefix: str | None
    """The number's first digits."""
    standing: str | None
    """`unknown`, `checked` (by a human check) or `known`, as the number was at the start."""
    status: Status
    """As far as it is recorded."""
    ended_at: Time | None
    events: tuple[Mapping[str, Any], ...]
    """Events, oldest first: `type`, `at`, and further members such as `gateway`, `channel`, `reason`."""


@dataclass(frozen=True, slots=True)
class InboundMessageAnswer:
    """A message from the number. Its text is not stored."""

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
    """The last attempts, oldest first: `at`, `milliseconds`, the `status` of the answer, `reason`."""


@dataclass(frozen=True, slots=True)
class RecordedWebhookAnswer:
    """A webhook about a verification of the number, or about the user."""

    id: str
    verification: str | None
    """Null for a webhook about a user."""
    type: str
    at: Time
    details: Mapping[str, Any]
    """Further members of the webhook."""
    deliveries: tuple[WebhookDeliveryAnswer, ...]


@dataclass(frozen=True, slots=True)
class LookAnswer:
    """A view of the number's data at the operator's console."""

    at: Time
    by: str
    """A user of the operator's console."""
    view: str
    """The page: `find`, `compliance`, `export` or another."""
    reason: str | None
    """The reason entered; null without one, or after an erasure."""


@dataclass(frozen=True, slots=True)
class SecondPersonRequestAnswer:
    """A request at the operator's console that needs a second person."""

    at: Time
    by: str
    """A user of the operator's console."""
    act: str
    """The requested action: `erase`, `unfreeze` or `lift-suppression`."""
    reason: str | None
    """The reason; null after an erasure."""
    decided_at: Time | None
    """When another user decided, or the request was withdrawn; null until then."""
    decided_by: str | None
    outcome: str | None
    """`done`, `nothing-left` (nothing to do), `declined`; `taken` while it is being done; null until a decision."""


@dataclass(frozen=True, slots=True)
class UnreadMessageAnswer:
    """A message from the number that waits to be read by the operator's support, for some days."""

    gateway: str
    text: str = field(repr=False)
    received_at: Time


@dataclass(frozen=True, slots=True)
class RefusalAnswer:
    """A refusal by a rule of the guard, also by a rule that only records."""

    at: Time
    rule: str
    mode: str
    """`enforce`, or `record_only` for an allowed request."""
    kind: str
    """The request: `start`, `resend`, `check` or another."""
    purpose: str
    country: str
    verification: str | None
    """Null for a refused start."""


@dataclass(frozen=True, slots=True)
class CountersAnswer:
    """The times that limits count at the application, newest first."""

    approved_at: Time | None
    """The last approval of a device of the application."""
    devices: tuple[Time, ...]
    """The last approval of each known device (`context`) of the application."""
    messages: tuple[Time, ...]
    """Messages to these devices; those of all applications are in the operator's export."""
    wrong_codes: tuple[Time, ...]
    locked_until: Time | None


@dataclass(frozen=True, slots=True)
class ErasureAnswer:
    """The result of an erasure."""

    at: Time
    erased: Mapping[str, int]
    """Counts of erased data: address, `source` and `text_version` of `consents`; reasons of `suppressions`, `looks` and
    `second_person_requests`; senders of `inbound` messages; waiting messages of the `inbox`; a user's `factors` and
    `recovery_codes`, if any."""
    kept: Mapping[str, int]
    """Rows that stay, under a pseudonym, by table."""
    reason: str
    """The reason why they stay."""


@dataclass(frozen=True, slots=True)
class SubjectExportAnswer:
    """The data of a number within the application."""

    to: str
    """The number, masked: it is stored only until its message is sent."""
    verifications: tuple[RecordedVerificationAnswer, ...]
    consents: tuple[ConsentEntryAnswer, ...]
    suppressions: tuple[SuppressionAnswer, ...]
    inbound: tuple[InboundMessageAnswer, ...]
    erasures: tuple[ErasureAnswer, ...]
    webhooks: tuple[RecordedWebhookAnswer, ...]
    """Webhooks to the application, while they are stored."""
    looks: tuple[LookAnswer, ...]
    """Views of the number's data at the operator's console, for any application."""
    second_person_requests: tuple[SecondPersonRequestAnswer, ...]
    """Requests there that need a second person, such as an erasure: for the application, or for all."""
    inbox: tuple[UnreadMessageAnswer, ...]
    refusals: tuple[RefusalAnswer, ...]
    """For a week."""
    counters: CountersAnswer | None
    """Counters of the number at the application; null for none."""
    recent: tuple[str, ...]
    """Identifiers of verifications in Redis, until some minutes after their codes; see docs/subjects.md."""


def consent_entry_answer(entry: Consent) -> ConsentEntryAnswer:
    evidence = entry.evidence
    if evidence is None:
        return ConsentEntryAnswer("withdrawn", entry.purpose, entry.recorded)
    return ConsentEntryAnswer(
        status="given",
        purpose=entry.purpose,
        recorded_at=entry.recorded,
        text_version=evidence.text_version,
        text_sha256=evidence.text_sha256,
        locale=evidence.locale,
        channel=evidence.channel,
        given_at=evidence.agreed_at,
        source=evidence.source,
        address_prefix=evidence.address_prefix or None,
    )


def suppression_answer(entry: Suppression) -> SuppressionAnswer:
    return SuppressionAnswer(
        scope=entry.scope,
        lifted=entry.lifted,
        source=entry.source,
        everywhere=entry.application == EVERY_APPLICATION,
        reason=entry.reason or None,
        until=entry.until,
        recorded_at=entry.recorded,
    )


def event_answers(events: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return events with their times as text."""
    return tuple({**event, "at": rfc3339(event["at"])} for event in events)


def erasure_answers(data: SubjectData) -> tuple[ErasureAnswer, ...]:
    return tuple(ErasureAnswer(row["at"], row["erased"], row["kept"], row["reason"]) for row in data.erasures)


def webhook_answers(data: SubjectData) -> tuple[RecordedWebhookAnswer, ...]:
    return tuple(
        RecordedWebhookAnswer(
            id=row["id"],
            verification=row["verification"] or None,
            type=row["type"],
            at=row["at"],
            details=row["details"],
            deliveries=tuple(
                WebhookDeliveryAnswer(
                    endpoint=delivery["endpoint"],
                    sequence=delivery["sequence"],
                    status=delivery["status"],
                    tries=event_answers(delivery["attempts"]),
                )
                for delivery in row["deliveries"]
            ),
        )
        for row in data.webhooks
    )


def counters_answer(export: SubjectExport) -> CountersAnswer | None:
    """Return the counters of the export's application."""
    counters = next(iter(export.counters.values()), None)
    if counters is None:
        return None
    return CountersAnswer(
        approved_at=counters.approved or None,
        devices=tuple(counters.devices),
        messages=tuple(counters.messages),
        wrong_codes=tuple(counters.wrong_codes),
        locked_until=counters.locked_until or None,
    )


def export_answer(export: SubjectExport) -> SubjectExportAnswer:
    """Return the answer for an export of a single application."""
    data = export.holding
    return SubjectExportAnswer(
        to=export.mask,
        verifications=tuple(map(_verification_answer, data.verifications)),
        consents=tuple(map(consent_entry_answer, data.consents)),
        suppressions=tuple(map(suppression_answer, data.suppressions)),
        inbound=tuple(InboundMessageAnswer(row["gateway"], row["meaning"], row["received"]) for row in data.inbound),
        erasures=erasure_answers(data),
        webhooks=webhook_answers(data),
        looks=tuple(LookAnswer(row["at"], row["by"], row["view"], row["reason"] or None) for row in data.looks),
        second_person_requests=tuple(map(_request_answer, data.second_person_requests)),
        inbox=tuple(UnreadMessageAnswer(message.gateway, message.text, message.received) for message in export.inbox),
        refusals=tuple(map(_refusal_answer, export.refusals)),
        counters=counters_answer(export),
        recent=tuple(verification.id for verification in export.recent),
    )


def _refusal_answer(decision: Decision) -> RefusalAnswer:
    return RefusalAnswer(
        at=decision.at,
        rule=decision.rule,
        mode=decision.mode,
        kind=decision.kind,
        purpose=decision.purpose,
        country=decision.country,
        verification=decision.verification or None,
    )


def _request_answer(row: Mapping[str, Any]) -> SecondPersonRequestAnswer:
    return SecondPersonRequestAnswer(
        at=row["at"],
        by=row["by"],
        act=row["act"],
        reason=row["reason"] or None,
        decided_at=row["decided"] or None,
        decided_by=row["decided_by"] or None,
        outcome=row["outcome"] or None,
    )


def _verification_answer(recorded: RecordedVerification) -> RecordedVerificationAnswer:
    return RecordedVerificationAnswer(
        id=recorded.id,
        purpose=recorded.purpose,
        country=recorded.country,
        started_at=recorded.started,
        expires_at=recorded.expires or None,
        channel=recorded.channel or None,
        number_prefix=recorded.number_prefix or None,
        standing=recorded.standing or None,
        status=Status(recorded.status),
        ended_at=recorded.ended or None,
        events=event_answers(recorded.events),
    )


def export_document(context: Context, to: Named, applications: Collection[str]) -> dict[str, Any]:
    """Return the data of a number at some applications, or at all, for JSON; ``*`` has those that belong to all.

    Each application's part is the answer of ``POST /v1/subjects/export``.
    """
    if applications:
        parts: Mapping[str, SubjectExport] = {name: export(context, to, name) for name in sorted(applications)}
    else:
        whole = export(context, to, None)
        data = whole.holding
        objects: Iterable[Any] = (
            *(*data.verifications, *data.consents, *data.suppressions),
            *(*whole.recent, *whole.refusals, *whole.inbox),
        )
        rows = (*data.inbound, *data.erasures, *data.second_person_requests)
        names = {_part_of(value.application) for value in objects} | {_part_of(row["application"]) for row in rows}
        names |= whole.counters.keys() | ({EVERY_APPLICATION} if data.looks else set())
        parts = {name: _part(whole, name) for name in sorted(names)}
    answers = {name: export_answer(part) for name, part in parts.items()}
    document = TypeAdapter(dict[str, SubjectExportAnswer]).dump_python(answers, mode="json")
    return {"to": getattr(to, "mask", ""), "applications": document}


def _part(whole: SubjectExport, name: str) -> SubjectExport:
    data = whole.holding
    return SubjectExport(
        whole.mask,
        SubjectData(
            verifications=tuple(value for value in data.verifications if value.application == name),
            consents=tuple(value for value in data.consents if value.application == name),
            suppressions=tuple(value for value in data.suppressions if value.application == name),
            inbound=tuple(row for row in data.inbound if _part_of(row["application"]) == name),
            erasures=tuple(row for row in data.erasures if row["application"] == name),
            webhooks=tuple(row for row in data.webhooks if row["application"] == name),
            looks=data.looks if name == EVERY_APPLICATION else (),
            second_person_requests=tuple(row for row in data.second_person_requests if row["application"] == name),
        ),
        tuple(value for value in whole.recent if value.application == name),
        tuple(value for value in whole.refusals if _part_of(value.application) == name),
        tuple(value for value in whole.inbox if _part_of(value.application) == name),
        {name: whole.counters[name]} if name in whole.counters else {},
    )


def _part_of(application: str) -> str:
    """Return the name of an application's part; data of an unknown application are in the part of all."""
    return application or EVERY_APPLICATION
