"""Suppressions. The number is in the body, never in an address."""

from dataclasses import dataclass, replace
from typing import Literal

from otp_service.api.exchange import Exchange
from otp_service.api.requests import read_number
from otp_service.api.routes import NUMBER_PROBLEMS, Resource
from otp_service.api.schemas import ConsentBody, Moment, NumberBody, PurposeName, Reason
from otp_service.clock import now
from otp_service.domain.applications import KeyScope
from otp_service.domain.consents import Suppression, SuppressionScope, SuppressionSource, active_freezes, is_suppressed
from otp_service.domain.numbers import SubjectKey
from otp_service.errors import InvalidTimeError
from otp_service.services.consents import add_suppressions, lift, make_consent
from otp_service.services.exports import SuppressionAnswer, suppression_answer


class ScopeBody(NumberBody):
    """A number and a scope."""

    scope: Literal["all", "marketing_only"] = "all"
    """`all`: no message at all, codes that the person asks for included; `marketing_only`: advertising, which this
    service does not send: it is kept, and keeps nothing back here."""


class LiftBody(ScopeBody):
    """A number that gets messages again, and the consent to that."""

    purpose: PurposeName = "login"
    """What the consent is for: one of the application's purposes. Default: `login`."""
    consent: ConsentBody | None = None
    """A new consent; it is recorded. Required after a stop of the person, and given later than that."""


class SuppressionBody(ScopeBody, json_schema_extra={"examples": [{"to": "+923007654321", "reason": "asked by phone"}]}):
    """A number that gets no messages of the application."""

    reason: Reason = ""
    """Why, for later questions; no personal data."""
    until: Moment | None = None
    """When it ends by itself. Default: never. It does not shorten an earlier one: lift that first."""


@dataclass(frozen=True, slots=True)
class SuppressionRecordAnswer:
    """The suppression entries of a number."""

    to: str
    """The number, masked."""
    suppressed: bool
    """Whether a start for it is refused now, as `recipient-suppressed`."""
    frozen: bool
    """Whether it is refused now as `recipient-frozen`, which goes before."""
    entries: tuple[SuppressionAnswer, ...]
    """Oldest first."""


suppressions = Resource("suppressions", "Suppressions", KeyScope.CONSENT, problems=NUMBER_PROBLEMS, asks_ledger=True)


@suppressions.route("PUT /v1/suppressions", {200: "What is recorded."}, ("invalid-time",), endpoint="record")
def suppress(exchange: Exchange, body: SuppressionBody) -> SuppressionRecordAnswer:
    """Suppress a number.

    From now on the number gets no messages of the application, waiting ones included.
    """
    to, until = read_number(exchange, body), body.until
    if until is not None and until <= now():
        raise InvalidTimeError("until is in the past.")
    add_suppressions(exchange.context, (replace(_entry(exchange, to, body), reason=body.reason, until=until),))
    return _suppressions(exchange, to)


@suppressions.route("POST /v1/suppressions/find", {200: "What is recorded."})
def find_suppressions(exchange: Exchange, body: NumberBody) -> SuppressionRecordAnswer:
    """Read suppressions.

    Returns this application's entries for the number, and the operator's entries for all applications.
    """
    return _suppressions(exchange, read_number(exchange, body))


@suppressions.route(
    "POST /v1/suppressions/lift",
    {200: "What is recorded."},
    ("consent-not-kept", "invalid-time", "consent-required", "consent-outdated"),
)
def lift_suppression(exchange: Exchange, body: LiftBody) -> SuppressionRecordAnswer:
    """Lift a suppression.

    Lets the application's messages through again. What the operator suppressed for all stays. What the person said, by
    an answer to a message, needs a consent that was given after it.
    """
    to, shown = read_number(exchange, body), None
    if body.consent:
        shown = make_consent(exchange.application, to, body.purpose, body.consent.to_evidence())
    lift(exchange.context, replace(_entry(exchange, to, body), lifted=True), shown=shown)
    return _suppressions(exchange, to)


def _entry(exchange: Exchange, to: SubjectKey, body: ScopeBody) -> Suppression:
    scope = SuppressionScope(body.scope)
    return Suppression(to.pseudonym, exchange.application.name, scope, SuppressionSource.API)


def _suppressions(exchange: Exchange, to: SubjectKey) -> SuppressionRecordAnswer:
    entries = exchange.context.ledger.suppressions.of(to.pseudonym, exchange.application.name)
    return SuppressionRecordAnswer(
        to=to.destination.mask,
        suppressed=is_suppressed(entries, now()),
        frozen=bool(active_freezes(entries)),
        entries=tuple(map(suppression_answer, entries)),
    )
