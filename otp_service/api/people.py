"""People: consents, suppressions, export, erasure, freeze. The number is in the body, never in an address."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, JsonValue, StringConstraints

from otp_service.api.exchange import Exchange
from otp_service.api.routes import COMMON, Resource
from otp_service.api.schemas import (
    CONSENT_EXAMPLE,
    DOCUMENTED,
    SHOWN,
    WITHOUT_NUMBER,
    Address,
    Body,
    ConsentBody,
    CountryCode,
    Moment,
    PurposeName,
    Time,
    rfc3339,
)
from otp_service.domain.applications import Scope
from otp_service.domain.numbers import Named, destination_of, named, network_of, prefix_of
from otp_service.domain.people import (
    EVERY_APPLICATION,
    MAX_REASON,
    Consent,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    freezes,
    keeps_codes_back,
)
from otp_service.domain.verification import Status, milliseconds_of
from otp_service.errors import InvalidTimeError
from otp_service.ledger.database import now
from otp_service.ledger.traffic import Past
from otp_service.services.people import (
    ConsentView,
    Export,
    FreezeStanding,
    consent_of,
    entries_of,
    erase,
    export,
    freeze,
    give,
    lift,
    read_consent,
    suppress_number,
    unfreeze,
    withdraw,
)

_TO: dict[str, JsonValue] = {"to": "+923001234567"}
Reason = Annotated[str, StringConstraints(max_length=MAX_REASON, pattern=SHOWN), *WITHOUT_NUMBER]


class NumberBody(Body):
    """Which number it is about."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TO]})

    to: str
    """The phone number, in any spelling; international with `+`, or national together with a region."""
    region: CountryCode | None = None
    """ISO 3166-1 alpha-2, for a national spelling. Default: the application's."""


class PurposeBody(NumberBody):
    """Which number and purpose it is about."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TO | {"purpose": "login"}]})

    purpose: PurposeName = "login"
    """One of the application's purposes. Default: `login`."""


class GivenConsentBody(ConsentBody, PurposeBody):
    """A consent, and what it is for."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TO | {"purpose": "login"} | CONSENT_EXAMPLE]})

    client_ip: Address | None = None
    """Address of the end user; its first part is kept (IPv4 /24, IPv6 /48), as a part of the evidence."""


class ScopeBody(NumberBody):
    """Which number it is about, and which messages."""

    scope: Literal["all", "marketing_only"] = "all"
    """`all`: no message at all, codes that the person asks for included; `marketing_only`: advertising, which this
    service does not send: it is kept, and keeps nothing back here."""


class LiftBody(ScopeBody):
    """Which number gets messages again, and what shows that the person wants them."""

    purpose: PurposeName = "login"
    """What the consent is for: one of the application's purposes. Default: `login`."""
    consent: ConsentBody | None = None
    """That the person agreed anew; it is recorded. Needed where the person said stop, and given after that."""


class SuppressionBody(ScopeBody):
    """A number that gets no messages of the application."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"to": "+923007654321", "reason": "asked by phone"}]})

    reason: Reason = ""
    """What was said of it, for people who ask later; no personal data."""
    until: Moment | None = None
    """When it ends by itself. Default: never. It does not shorten an earlier one: lift that first."""


class FreezeBody(NumberBody):
    """A number of which fraud was reported."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TO | {"reason": "customer reports fraud, case A-17"}]})

    reason: Reason = ""
    """What was said of it, for people who ask later; no personal data."""


@dataclass(frozen=True, slots=True)
class ConsentEntryAnswer:
    """A consent, or its withdrawal, as it was recorded. An entry is never changed."""

    __pydantic_config__ = DOCUMENTED

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

    __pydantic_config__ = DOCUMENTED

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

    __pydantic_config__ = DOCUMENTED

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

    __pydantic_config__ = DOCUMENTED

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

    __pydantic_config__ = DOCUMENTED

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

    __pydantic_config__ = DOCUMENTED

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

    __pydantic_config__ = DOCUMENTED

    gateway: str
    meaning: str
    """`stop`, `start`, `help` or `other`."""
    received_at: Time


@dataclass(frozen=True, slots=True)
class ErasureAnswer:
    """What an erasure did."""

    __pydantic_config__ = DOCUMENTED

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

    __pydantic_config__ = DOCUMENTED

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


_NUMBER = (*COMMON, "invalid-number", "number-type-not-allowed", "ledger-mismatch", "ledger-unavailable")

consents = Resource("consents", "Consents", Scope.CONSENT, problems=(*_NUMBER, "consent-not-kept"), asks_ledger=True)


@consents.route("PUT /v1/consents", {200: "What is recorded."}, ("invalid-time", "consent-outdated"))
def record_consent(exchange: Exchange, body: GivenConsentBody) -> ConsentAnswer:
    """Record a consent.

    Records that somebody agreed to codes for a purpose, with what shows it. It is in force when this is answered. What
    is recorded is never changed, only followed by another entry. A consent that was not given after the last one, or
    after its withdrawal, is refused as `consent-outdated`; the last one once more changes nothing.
    """
    prefix = prefix_of(network_of(body.client_ip)) if body.client_ip is not None else ""
    to = _number(exchange, body)
    return _consents(give(exchange.context, exchange.application, to, body.purpose, body.to_evidence(prefix)))


@consents.route("POST /v1/consents/find", {200: "What is recorded."})
def find_consent(exchange: Exchange, body: PurposeBody) -> ConsentAnswer:
    """Read a consent.

    Shows what is recorded of a number and a purpose, all of it. A consent that came with a start is there within a
    second.
    """
    return _consents(read_consent(exchange.context, exchange.application, _number(exchange, body), body.purpose))


@consents.route("POST /v1/consents/withdraw", {200: "What is recorded."})
def withdraw_consent(exchange: Exchange, body: PurposeBody) -> ConsentAnswer:
    """Withdraw a consent.

    Records that somebody agrees no more. When this is answered no message of the purpose goes out, those that wait
    included, until another consent is given.
    """
    return _consents(withdraw(exchange.context, exchange.application, _number(exchange, body), body.purpose))


def _number(exchange: Exchange, body: NumberBody) -> Named:
    """Return the number with the names under which it is kept; raise `InvalidNumberError` or another."""
    return named(exchange.context.keyring, destination_of(exchange.application, body.to, body.region))


def _consents(view: ConsentView) -> ConsentAnswer:
    return ConsentAnswer(view.mask, view.purpose, view.status, tuple(map(_consent, view.entries)))


suppressions = Resource("suppressions", "Suppressions", Scope.CONSENT, problems=_NUMBER, asks_ledger=True)


@suppressions.route("PUT /v1/suppressions", {200: "What is recorded."}, ("invalid-time",), endpoint="record")
def suppress(exchange: Exchange, body: SuppressionBody) -> SuppressionsAnswer:
    """Suppress a number.

    From now on the number gets no messages of the application, those that wait included; other applications' are left
    alone.
    """
    to, until = _number(exchange, body), None if body.until is None else milliseconds_of(body.until)
    if until is not None and until <= now():
        raise InvalidTimeError("until is in the past.")
    suppress_number(exchange.context, (replace(_entry(exchange, to, body), reason=body.reason, until=until),))
    return _suppressions(exchange, to)


@suppressions.route("POST /v1/suppressions/find", {200: "What is recorded."})
def find_suppressions(exchange: Exchange, body: NumberBody) -> SuppressionsAnswer:
    """Read suppressions.

    Shows what is recorded of a number at the application, and what its operator said for all.
    """
    return _suppressions(exchange, _number(exchange, body))


@suppressions.route(
    "POST /v1/suppressions/lift",
    {200: "What is recorded."},
    ("consent-not-kept", "invalid-time", "consent-required", "consent-outdated"),
)
def lift_suppression(exchange: Exchange, body: LiftBody) -> SuppressionsAnswer:
    """Lift a suppression.

    Lets the application's messages through again. What the operator suppressed for all stays. What the person said, by
    an answer to a message, needs a consent that was given after it.
    """
    to, shown = _number(exchange, body), None
    if body.consent:
        shown = consent_of(exchange.application, to, body.purpose, body.consent.to_evidence())
    lift(exchange.context, replace(_entry(exchange, to, body), lifted=True), shown=shown)
    return _suppressions(exchange, to)


def _entry(exchange: Exchange, to: Named, body: ScopeBody) -> Suppression:
    scope = SuppressionScope(body.scope)
    return Suppression(to.pseudonym, exchange.application.name, scope, SuppressionSource.API)


def _suppressions(exchange: Exchange, to: Named) -> SuppressionsAnswer:
    entries = entries_of(exchange.context, to.pseudonym, exchange.application.name)
    return SuppressionsAnswer(
        to=to.destination.mask,
        suppressed=keeps_codes_back(entries, now()),
        frozen=bool(freezes(entries)),
        entries=tuple(map(_suppression, entries)),
    )


subjects = Resource("subjects", "Subjects", Scope.SUBJECTS, problems=_NUMBER, asks_ledger=True)


@subjects.route("POST /v1/subjects/freeze", {200: "How the number stands."})
def freeze_subject(exchange: Exchange, body: FreezeBody) -> FreezeAnswer:
    """Freeze a number.

    For a customer who reports fraud. Once this is answered no code of the number is approved for the application, its
    last verifications are canceled where they are pending, no message is handed to a gateway, and starts and resends
    are refused as `recipient-frozen`, until the freeze is lifted. Other applications' are left alone. To freeze again
    does no harm, and cancels again what is pending.
    """
    to = _number(exchange, body)
    return _freeze(to, freeze(exchange.context, to, exchange.application.name, SuppressionSource.API, body.reason))


@subjects.route("POST /v1/subjects/unfreeze", {200: "How the number stands."})
def unfreeze_subject(exchange: Exchange, body: NumberBody) -> FreezeAnswer:
    """Lift a freeze.

    Lets verifications of the number start again within the application. What was pending before stays ended, and what
    the operator froze for all stays frozen: then `frozen` is still true.
    """
    to = _number(exchange, body)
    found, _ = unfreeze(exchange.context, to, exchange.application.name, SuppressionSource.API)
    return _freeze(to, found)


@subjects.route("POST /v1/subjects/export", {200: "All of it."})
def export_subject(exchange: Exchange, body: NumberBody) -> ExportAnswer:
    """Show what is held.

    Shows all that is held of a number within the application: for the person who asks for it.
    """
    return export_answer(export(exchange.context, _number(exchange, body), exchange.application.name))


@subjects.route("POST /v1/subjects/erase", {200: "What was done."})
def erase_subject(exchange: Exchange, body: NumberBody) -> ErasureAnswer:
    """Erase what is not needed.

    Erases what no dispute needs of a number within the application; the rest stays under a pseudonym, and the answer
    says why. No limit, lock or suppression is touched.
    """
    done = erase(exchange.context, _number(exchange, body), exchange.application.name)
    return ErasureAnswer(rfc3339(done.at), done.erased, done.kept, done.reason)


def _freeze(to: Named, found: FreezeStanding) -> FreezeAnswer:
    entries = found.entries
    return FreezeAnswer(
        to=to.destination.mask,
        frozen=bool(entries),
        everywhere=any(one.application == EVERY_APPLICATION for one in entries),
        since=rfc3339(entries[0].recorded) if entries else None,
        reason=(entries[-1].reason or None) if entries else None,
        ended=found.ended,
    )


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
