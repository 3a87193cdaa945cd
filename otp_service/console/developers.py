"""Developers: keys and webhooks of their applications, and a verification by its identifier."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from flask import request

from otp_service import clock
from otp_service.console.accounts import Permission
from otp_service.console.requests import Answer, ConsoleRequest, FormError, Views, as_form_error
from otp_service.domain.applications import APPLICATION_SCOPES, KeyScope, parse_networks
from otp_service.domain.phrases import Phrase
from otp_service.domain.webhooks import EndpointStatus, WebhookDeliveryStatus
from otp_service.errors import ConflictError, InvalidRequestError, NotFoundError
from otp_service.ledger.webhooks import WebhookDeliveryFilter
from otp_service.services import access
from otp_service.services.access import DEFAULT_OVERLAP, IssuedKey
from otp_service.services.explanations import sentence
from otp_service.services.identifiers import identify
from otp_service.services.number_history import ExplainedVerification, NumberHistory, find_pseudonym, find_verification

views = Views()
SCOPES: Final = tuple(sorted(APPLICATION_SCOPES - {KeyScope.SUBJECTS, KeyScope.CONSENT}))
"""Scopes of keys that the console issues: none that requires compliance or dual control."""
_PAGE: Final = "/developers"
_NOT_FOUND: Final = 404
_MAX_WEBHOOKS: Final = 20
_ENDPOINT_WORDS: Final[Mapping[EndpointStatus, str]] = {
    EndpointStatus.ENABLED: "It is sent to.",
    EndpointStatus.DISABLED: "Nothing is sent: it was disabled.",
    EndpointStatus.FAILING: "Nothing is sent: it failed for five days.",
    EndpointStatus.GONE: "Nothing is sent: it answered 410.",
}
_WEBHOOK_WORDS: Final[Mapping[WebhookDeliveryStatus, str]] = {
    WebhookDeliveryStatus.WAITING: "It waits for a try.",
    WebhookDeliveryStatus.DELIVERED: "It was delivered.",
    WebhookDeliveryStatus.FAILED: "All tries were in vain.",
    WebhookDeliveryStatus.HELD: "It is held until a replay.",
}


@views.view("GET /developers", Permission.DEVELOP, title="Developers")
def show_applications(visit: ConsoleRequest, issued: IssuedKey | None = None) -> Answer:
    ledger = visit.context.ledger
    find = ledger.webhook_outbox.find
    listed = [
        (name, ledger.api_keys.of(name), ledger.endpoints.of(name), find(WebhookDeliveryFilter(name), _MAX_WEBHOOKS))
        for name in visit.applications
    ]
    return visit.page(
        "developers.html",
        listed=listed,
        now=clock.now(),
        scopes=SCOPES,
        endpoint_words=_ENDPOINT_WORDS,
        webhook_words=_WEBHOOK_WORDS,
        issued=issued,
    )


def _own_application(visit: ConsoleRequest) -> str:
    """Return the application of the form; raise `NotFoundError` if the user may not see it."""
    name = visit.field("application")
    if name not in visit.applications:
        raise NotFoundError("There is no such application.")
    return name


@views.view("POST /developers/keys", Permission.DEVELOP, confirmed=True)
def issue_key(visit: ConsoleRequest) -> Answer:
    application = _own_application(visit)
    scopes = {scope for scope in SCOPES if scope in request.form.getlist("scope")}
    if not scopes:
        raise FormError("Choose what the key may be used for.")
    with as_form_error(InvalidRequestError, "Addresses are IP addresses or networks, such as 192.0.2.0/24."):
        networks = parse_networks(visit.field("addresses").split())
    return show_applications(visit, access.issue_key(visit.context, application, scopes, networks, visit.operator))


@views.view("POST /developers/keys/<key_id>/rotate", Permission.DEVELOP, confirmed=True)
def rotate_key(visit: ConsoleRequest, key_id: str) -> Answer:
    """Replace a key, which ends in a day."""
    application = _own_application(visit)
    key = next((key for key in visit.context.ledger.api_keys.of(application) if key.id == key_id), None)
    if key and not key.scopes <= set(SCOPES):
        raise FormError("This key may do what the console does not give out: an operator rotates it.")
    with as_form_error(ConflictError, "This key is over."):
        issued = access.rotate_key(visit.context, key_id, DEFAULT_OVERLAP, visit.operator, application)
    return show_applications(visit, issued)


@views.view("POST /developers/keys/<key_id>/revoke", Permission.DEVELOP, confirmed=True)
def revoke_key(visit: ConsoleRequest, key_id: str) -> Answer:
    application = _own_application(visit)
    access.revoke_key(visit.context, key_id, visit.operator, application)
    revoked = Phrase("The key {key} of {application} is revoked.", {"key": key_id, "application": application})
    return visit.done(_PAGE, revoked)


@views.view("GET /developers/verifications", Permission.FIND_BY_ID, title="Verification by id")
def show_search(visit: ConsoleRequest) -> Answer:
    return visit.page("verification.html", case=None)


@views.view("POST /developers/verifications", Permission.FIND_BY_ID)
def search(visit: ConsoleRequest) -> Answer:
    for name in identify(visit.context, visit.field("id")).verifications:
        with suppress(NotFoundError):
            _find(visit, name)
            return visit.to(f"{_PAGE}/verifications/{name}")
    raise FormError("There is no verification of this id at an application of yours.", _NOT_FOUND)


@views.view("GET /developers/verifications/<verification_id>", Permission.FIND_BY_ID)
def show_verification(visit: ConsoleRequest, verification_id: str) -> Answer:
    """Show a verification, and record the view, since the mask, the result and the visit are personal data."""
    case, history = _find(visit, verification_id)
    pseudonym = find_pseudonym(visit.context, verification_id)
    visit.record_number_view(pseudonym, "verification", verification_id)
    return visit.page("verification.html", case=case, sentence=sentence(case, history))


def _find(visit: ConsoleRequest, verification_id: str) -> tuple[ExplainedVerification, NumberHistory]:
    """Return a verification of an application that the user may see; raise `NotFoundError` for any other."""
    history = find_verification(visit.context, verification_id)
    cases = [case for case in history.verifications if case.history.application in visit.applications]
    if not cases:
        raise NotFoundError("There is no such verification.")
    return cases[0], history
