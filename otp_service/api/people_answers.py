"""Answers of the calls on consents, suppressions, and what is held of a person. A number is always masked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flask import Response
from pydantic import ConfigDict, TypeAdapter

from otp_service.api.answers import Time, rfc3339
from otp_service.api.exchange import JSON
from otp_service.domain.people import (
    EVERY_APPLICATION,
    Consent,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    freezes,
)
from otp_service.domain.verification import Status
from otp_service.ledger.traffic import Erasure, Past
from otp_service.services.people import ConsentView, Export, FreezeStanding

_DOCUMENTED = ConfigDict(use_attribute_docstrings=True)


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
