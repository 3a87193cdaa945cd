"""The calls about people: consents, suppressions, export, erasure, freeze."""

from dataclasses import replace

from flask import Blueprint, Response

from otp_service.api import responses, schemas
from otp_service.api.current import exchange, no_query, number_in
from otp_service.api.operation import BODY, COMMON, Call, Success
from otp_service.api.requests import read_json, validated
from otp_service.api.responses import (
    consent_response,
    erasure_response,
    export_response,
    freeze_response,
    suppressions_response,
)
from otp_service.api.schemas import FreezeBody, GivenConsentBody, LiftBody, NumberBody, PurposeBody, SuppressionBody
from otp_service.bootstrap import Installation
from otp_service.domain.numbers import Named, network_of, prefix_of
from otp_service.domain.people import Suppression, SuppressionScope, SuppressionSource, keeps_codes_back
from otp_service.domain.verification import milliseconds_of
from otp_service.errors import InvalidTimeError
from otp_service.ledger.database import now
from otp_service.services.people import (
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


def consents_blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    context = installation.context

    def record() -> Response:
        """Record a consent."""
        body = validated(GivenConsentBody, read_json(exchange()))
        prefix = prefix_of(network_of(body.client_ip)) if body.client_ip is not None else ""
        evidence = body.to_evidence(prefix)
        return consent_response(give(context, exchange().application, number_in(context, body), body.purpose, evidence))

    def find() -> Response:
        """Show what is recorded."""
        body = validated(PurposeBody, read_json(exchange()))
        return consent_response(read_consent(context, exchange().application, number_in(context, body), body.purpose))

    def take_back() -> Response:
        """Record a withdrawal."""
        body = validated(PurposeBody, read_json(exchange()))
        return consent_response(withdraw(context, exchange().application, number_in(context, body), body.purpose))

    routes = Blueprint("consents", __name__, url_prefix="/v1/consents")
    routes.before_request(no_query)
    routes.add_url_rule("", "record", record, methods=["PUT"])
    routes.add_url_rule("/find", "find", find, methods=["POST"])
    routes.add_url_rule("/withdraw", "withdraw", take_back, methods=["POST"])
    return routes


def suppressions_blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    context = installation.context

    def _entry(to: Named, scope: str) -> Suppression:
        return Suppression(to.pseudonym, exchange().application.name, SuppressionScope(scope), SuppressionSource.API)

    def _shown(to: Named) -> Response:
        entries = entries_of(context, to.pseudonym, exchange().application.name)
        return suppressions_response(to.destination.mask, entries, suppressed=keeps_codes_back(entries, now()))

    def record() -> Response:
        """Record a suppression."""
        body = validated(SuppressionBody, read_json(exchange()))
        to, until = number_in(context, body), None if body.until is None else milliseconds_of(body.until)
        if until is not None and until <= now():
            raise InvalidTimeError("until is in the past.")
        suppress_number(context, (replace(_entry(to, body.scope), reason=body.reason, until=until),))
        return _shown(to)

    def find() -> Response:
        """Show what is recorded."""
        return _shown(number_in(context, validated(NumberBody, read_json(exchange()))))

    def take_back() -> Response:
        """Lift a suppression of the application's own."""
        body = validated(LiftBody, read_json(exchange()))
        to, application, shown = number_in(context, body), exchange().application, None
        if body.consent:
            shown = consent_of(application, to, body.purpose, body.consent.to_evidence())
        lift(context, replace(_entry(to, body.scope), lifted=True), shown=shown)
        return _shown(to)

    routes = Blueprint("suppressions", __name__, url_prefix="/v1/suppressions")
    routes.before_request(no_query)
    routes.add_url_rule("", "record", record, methods=["PUT"])
    routes.add_url_rule("/find", "find", find, methods=["POST"])
    routes.add_url_rule("/lift", "lift", take_back, methods=["POST"])
    return routes


# The number is in the body.


def subjects_blueprint(installation: Installation) -> Blueprint:
    """Return the routes of this resource."""
    context = installation.context

    def _number() -> Named:
        return number_in(context, validated(NumberBody, read_json(exchange())))

    def show() -> Response:
        """Show all that is held."""
        return export_response(export(context, _number(), exchange().application.name))

    def remove() -> Response:
        """Erase what no dispute needs."""
        return erasure_response(erase(context, _number(), exchange().application.name))

    def stop() -> Response:
        """Freeze the number."""
        body = validated(FreezeBody, read_json(exchange()))
        to = number_in(context, body)
        found = freeze(context, to, exchange().application.name, SuppressionSource.API, body.reason)
        return freeze_response(to.destination.mask, found)

    def go_on() -> Response:
        """Lift the application's own freeze."""
        to = _number()
        found, _ = unfreeze(context, to, exchange().application.name, SuppressionSource.API)
        return freeze_response(to.destination.mask, found)

    routes = Blueprint("subjects", __name__, url_prefix="/v1/subjects")
    routes.before_request(no_query)
    routes.add_url_rule("/export", "export", show, methods=["POST"])
    routes.add_url_rule("/erase", "erase", remove, methods=["POST"])
    routes.add_url_rule("/freeze", "freeze", stop, methods=["POST"])
    routes.add_url_rule("/unfreeze", "unfreeze", go_on, methods=["POST"])
    return routes


_CONSENTS, _SUPPRESSIONS, _SUBJECTS = "Consents", "Suppressions", "Subjects"
_NUMBER = ("invalid-number", "number-type-not-allowed", "ledger-mismatch", "ledger-unavailable")
_CONSENT = (*COMMON, *BODY, *_NUMBER, "forbidden", "consent-not-kept")
_SHOWN = (Success(200, "What is recorded.", responses.CONSENT),)
_FROZEN = (Success(200, "How the number stands.", responses.FREEZE),)
_LISTED = (Success(200, "What is recorded.", responses.SUPPRESSIONS),)

PEOPLE_CALLS = (
    Call(
        name="recordConsent",
        method="put",
        path="/v1/consents",
        section=_CONSENTS,
        summary="Record a consent",
        description="Records that somebody agreed to codes for a purpose, with what shows it. It is in force when this "
        "is answered. What is recorded is never changed, only followed by another entry. A consent that was not given "
        "after the last one, or after its withdrawal, is refused as `consent-outdated`; the last one once more "
        "changes nothing.",
        successes=_SHOWN,
        problems=(*_CONSENT, "invalid-time", "consent-outdated"),
        body=schemas.GivenConsentBody,
        body_required=True,
    ),
    Call(
        name="findConsent",
        method="post",
        path="/v1/consents/find",
        section=_CONSENTS,
        summary="Read a consent",
        description="Shows what is recorded of a number and a purpose, all of it. A consent that came with a start is "
        "there within a second.",
        successes=_SHOWN,
        problems=_CONSENT,
        body=schemas.PurposeBody,
        body_required=True,
    ),
    Call(
        name="withdrawConsent",
        method="post",
        path="/v1/consents/withdraw",
        section=_CONSENTS,
        summary="Withdraw a consent",
        description="Records that somebody agrees no more. When this is answered no message of the purpose goes out, "
        "those that wait included, until another consent is given.",
        successes=_SHOWN,
        problems=_CONSENT,
        body=schemas.PurposeBody,
        body_required=True,
    ),
    Call(
        name="suppress",
        method="put",
        path="/v1/suppressions",
        section=_SUPPRESSIONS,
        summary="Suppress a number",
        description="From now on the number gets no messages of the application, those that wait included; other "
        "applications' are left alone.",
        successes=_LISTED,
        problems=(*COMMON, *BODY, *_NUMBER, "invalid-time"),
        body=schemas.SuppressionBody,
        body_required=True,
    ),
    Call(
        name="findSuppressions",
        method="post",
        path="/v1/suppressions/find",
        section=_SUPPRESSIONS,
        summary="Read suppressions",
        description="Shows what is recorded of a number at the application, and what its operator said for all.",
        successes=_LISTED,
        problems=(*COMMON, *BODY, *_NUMBER),
        body=schemas.NumberBody,
        body_required=True,
    ),
    Call(
        name="liftSuppression",
        method="post",
        path="/v1/suppressions/lift",
        section=_SUPPRESSIONS,
        summary="Lift a suppression",
        description="Lets the application's messages through again. What the operator suppressed for all stays. What "
        "the person said, by an answer to a message, needs a consent that was given after it.",
        successes=_LISTED,
        problems=(*_CONSENT, "invalid-time", "consent-required", "consent-outdated"),
        body=schemas.LiftBody,
        body_required=True,
    ),
    Call(
        name="freezeSubject",
        method="post",
        path="/v1/subjects/freeze",
        section=_SUBJECTS,
        summary="Freeze a number",
        description="For a customer who reports fraud. Once this is answered no code of the number is approved for "
        "the application, its last verifications are canceled where they are pending, no message is handed to a "
        "gateway, and starts and resends are refused as `recipient-frozen`, until the freeze is lifted. Other "
        "applications' are left alone. To freeze again does no harm, and cancels again what is pending.",
        successes=_FROZEN,
        problems=(*COMMON, *BODY, *_NUMBER),
        body=schemas.FreezeBody,
        body_required=True,
    ),
    Call(
        name="unfreezeSubject",
        method="post",
        path="/v1/subjects/unfreeze",
        section=_SUBJECTS,
        summary="Lift a freeze",
        description="Lets verifications of the number start again within the application. What was pending before "
        "stays ended, and what the operator froze for all stays frozen: then `frozen` is still true.",
        successes=_FROZEN,
        problems=(*COMMON, *BODY, *_NUMBER),
        body=schemas.NumberBody,
        body_required=True,
    ),
    Call(
        name="exportSubject",
        method="post",
        path="/v1/subjects/export",
        section=_SUBJECTS,
        summary="Show what is held",
        description="Shows all that is held of a number within the application: for the person who asks for it.",
        successes=(Success(200, "All of it.", responses.EXPORT),),
        problems=(*COMMON, *BODY, *_NUMBER),
        body=schemas.NumberBody,
        body_required=True,
    ),
    Call(
        name="eraseSubject",
        method="post",
        path="/v1/subjects/erase",
        section=_SUBJECTS,
        summary="Erase what is not needed",
        description="Erases what no dispute needs of a number within the application; the rest stays under a "
        "pseudonym, and the answer says why. No limit, lock or suppression is touched.",
        successes=(Success(200, "What was done.", responses.ERASURE),),
        problems=(*COMMON, *BODY, *_NUMBER),
        body=schemas.NumberBody,
        body_required=True,
    ),
)
