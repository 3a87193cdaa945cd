"""Compliance: data of a person and views of it, evidence for disputes, actions under dual control."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from flask import Response, request

from otp_service.clock import now
from otp_service.console import chain_verification, dual_control
from otp_service.console.accounts import Permission
from otp_service.console.find import freeze_of_form
from otp_service.console.language import known_phrases
from otp_service.console.records import DualControlAction, DualControlRequest, DualControlRequests, NumberViews
from otp_service.console.requests import HANDLE_LIFE, Answer, ConsoleRequest, FormError, Views, as_form_error
from otp_service.console.sessions import ChainVerifications
from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.domain.consents import (
    EVERY_APPLICATION,
    SETTABLE_SCOPES,
    Consent,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    active_suppressions,
)
from otp_service.domain.guard import DAY
from otp_service.domain.numbers import SubjectKey
from otp_service.domain.phrases import Phrase
from otp_service.errors import ConflictError, ConsentNotKeptError, ForbiddenError, InvalidRequestError
from otp_service.ledger.audit import DisputeFilter
from otp_service.ledger.consents import Consents, ListQuery, Suppressions
from otp_service.ledger.retention import PURGE_RULES
from otp_service.services.audit import build_dispute_evidence
from otp_service.services.consents import add_suppressions, end_consent
from otp_service.services.exports import export_document
from otp_service.services.operator_actions import latest_actions

views = Views()
_GONE: Final = 409
_MAX_ROWS: Final = 50
"""Rows of a table that grows without end."""
_MAX_NUMBER_ROWS: Final = 100
"""Maximum rows in a table of a number; the export has all."""

OVER: Final = "This request is closed: decided, expired, or its requester lost the permission."
NOT_KEPT: Final = "The application keeps no consents for this purpose."
_STATES: Final[Mapping[str, bool | None]] = {"all": None, "in force": True, "ended": False}
"""By the value of the form: whether the listed entries are in force; ``None`` for all."""
_Do = Callable[..., Phrase]


# --- all numbers ---


@views.view("GET /compliance", Permission.COMPLIANCE, title="Compliance")
def show_compliance(visit: ConsoleRequest) -> Answer:
    context, user = visit.context, visit.signed_in
    ledger = context.ledger
    signed, runs = ledger.audit.last_signed(), ChainVerifications(context)
    last = runs.last()
    return visit.page(
        "compliance.html",
        region=visit.usual_region,
        applications=visit.choices,
        requests=_requests(visit, DualControlRequests(ledger.database).latest(_MAX_ROWS)),
        actions=latest_actions(context, _MAX_ROWS, user.applications),
        looks=NumberViews(ledger.database).latest(_MAX_ROWS, None if user.sees_all else user.name),
        lookers=NumberViews(ledger.database).numbers_by_user(now() - DAY, now() - 7 * DAY) if user.sees_all else (),
        retention=[(name, getattr(visit.settings.retention, name), ledger.purges.latest(name)) for name in PURGE_RULES],
        purged=ledger.purges.last_began(),
        signed=signed,
        since=ledger.audit.head().sequence - (signed.head.sequence if signed else 0),
        running=runs.present(),
        last=last,
        sentences=known_phrases(last.sentences) if last else [],
        flaws=known_phrases(last.flaws) if last and user.sees_all else [],  # they name rows
        may_verify=user.sees_all,
    )


@views.view("POST /compliance", Permission.COMPLIANCE)
def look_up(visit: ConsoleRequest) -> Answer:
    return visit.look_up("compliance")


@views.view("POST /compliance/pack", Permission.COMPLIANCE, confirmed=True)
def make_pack_of_verification(visit: ConsoleRequest) -> Answer:
    """Return the dispute pack of a verification, or of a payment by its reference."""
    application = _named_application(visit)
    verification, reference = visit.field("verification"), visit.field("reference")
    if not verification and not (reference and application):
        raise FormError("Say of which verification, or of which payment of which application.")
    payment = visit.context.keyring.reference_name(application, reference) if reference else None
    selection = DisputeFilter(verification or None, payment, application=application or None)
    details = {"verification": verification, "application": application, "reference": reference}
    return _pack(visit, selection, details)


@views.view("POST /compliance/requests/<name>/decline", Permission.ERASE)
def decline(visit: ConsoleRequest, name: str) -> Answer:
    """Decline a request, or withdraw an own one."""
    with as_form_error(ConflictError, OVER, _GONE):
        dual_control.decline(visit.context, visit.signed_in, name)
    return visit.done("/compliance", Phrase("It is declined."))


# --- the audit chain ---


@views.view("POST /compliance/chain", Permission.COMPLIANCE)
def verify_chain(visit: ConsoleRequest) -> Answer:
    """Begin to verify the audit chain of all applications; the page shows the progress."""
    if not visit.signed_in.sees_all:
        raise ForbiddenError("The chain is of all applications.")
    if not chain_verification.begin(visit.context, visit.signed_in.name, visit.settings.retention.model_dump()):
        raise FormError("The audit chain is being verified already.", _GONE)
    return visit.done("/compliance", Phrase("The audit chain is being verified."))


# --- lists ---


@views.view("GET /compliance/consents", Permission.COMPLIANCE)
def list_consents(visit: ConsoleRequest) -> Answer:
    entries = visit.context.ledger.consents
    return _list(visit, "consents", entries, visit.applications, sorted(visit.context.purposes))


@views.view("GET /compliance/suppressions", Permission.COMPLIANCE)
def list_suppressions(visit: ConsoleRequest) -> Answer:
    scopes = list(map(str, SuppressionScope))
    return _list(visit, "suppressions", visit.context.ledger.suppressions, visit.choices, scopes)


def _list(
    visit: ConsoleRequest,
    name: str,
    entries: Consents | Suppressions,
    applications: Sequence[str],
    kinds: Sequence[str],
) -> Answer:
    """Show a page of a list, newest first.

    It has no number, mask, pseudonym or reason, so it does not count as a view of a person.
    """
    application, kind = _chosen("application", applications), _chosen("kind", kinds)
    state = _chosen("state", list(_STATES))
    before = request.args.get("before", type=int)
    is_place = before is not None and 0 < before < 1 << 63
    listed = entries.listed(ListQuery(application, kind, _STATES[state], before if is_place else None), _MAX_ROWS)
    chosen = {"application": application, "kind": kind, "state": state}
    return visit.page(
        "compliance_list.html",
        list=name,
        entries=listed.entries,
        chosen=chosen,
        applications=applications,
        kinds=kinds,
        states=list(_STATES),
        older=urlencode({**chosen, "before": listed.older}) if listed.older else "",
    )


def _chosen(name: str, among: Sequence[str]) -> str:
    """Return a choice from the query, by default the first of ``among``."""
    chosen = request.args.get(name, "")
    return chosen if chosen in among else next(iter(among), "")


# --- one number ---


@views.view("GET /compliance/<handle>", Permission.COMPLIANCE)
def show_number(visit: ConsoleRequest, handle: str) -> Answer:
    number, context, user = visit.number(handle), visit.context, visit.signed_in
    visit.record_number_view(number.pseudonym, "compliance", within=HANDLE_LIFE)
    consents = context.ledger.consents.all_of(number.pseudonym, _MAX_NUMBER_ROWS, user.applications)
    suppressions = visit.suppressions(number)
    standing = active_suppressions(suppressions, now())
    return visit.page(
        "compliance_number.html",
        handle=handle,
        number=number,
        consents=consents,
        withdrawable=_withdrawable(visit, consents),
        suppressions=suppressions[::-1][:_MAX_NUMBER_ROWS],
        frozen=[entry.application for entry in standing if entry.scope is SuppressionScope.FROZEN],
        kept_back=[entry.application for entry in standing if entry.scope is SuppressionScope.ALL],
        requests=_requests(visit, DualControlRequests(context.ledger.database).of_number(number.pseudonym, _MAX_ROWS)),
        looks=NumberViews(context.ledger.database).at(number.pseudonym, _MAX_ROWS),
        applications=visit.choices,
        scopes=SETTABLE_SCOPES,
        acts=list(DualControlAction),
        permission=Permission,
    )


def _act(rule: str, permission: Permission, *, confirmed: bool = False) -> Callable[[_Do], _Do]:
    """Return a decorator for an action on a number, whose page then shows the returned sentence."""

    def add(do: _Do) -> _Do:
        @views.view(f"POST /compliance/<handle>/{rule}", permission, confirmed=confirmed)
        def act(visit: ConsoleRequest, handle: str, **parts: str) -> Answer:
            with visit.repeatable():
                done = do(visit, visit.number(handle), **parts)
            return visit.done(f"/compliance/{handle}", done)

        return do

    return add


@_act("freeze", Permission.FREEZE)
def freeze_number(visit: ConsoleRequest, number: SubjectKey) -> Phrase:
    return freeze_of_form(visit, number)


@_act("suppress", Permission.COMPLIANCE)
def suppress_number(visit: ConsoleRequest, number: SubjectKey) -> Phrase:
    application, scope = visit.typed_application(), visit.field("scope")
    if scope not in SETTABLE_SCOPES:
        raise FormError("There is no such scope.")
    reason, until = visit.typed_reason(), _day(visit, "until")
    if until is not None and until <= now():
        raise FormError("The day is in the past, or it is none.")
    source = SuppressionSource.OPERATOR
    entry = Suppression(number.pseudonym, application, SuppressionScope(scope), source, reason, until)
    add_suppressions(visit.context, (entry,), _action(visit, OperatorAction.SUPPRESSION_ADDED, application, scope))
    return Phrase("The number gets no more messages.")


@_act("withdraw", Permission.COMPLIANCE)
def withdraw_consent(visit: ConsoleRequest, number: SubjectKey) -> Phrase:
    name, purpose = visit.typed_application(), visit.field("purpose")
    application = visit.context.applications.get(name)
    if application is None or purpose not in application.purposes:
        raise FormError(NOT_KEPT)
    action = _action(visit, OperatorAction.CONSENT_WITHDRAWN, name, purpose)
    with as_form_error(ConsentNotKeptError, NOT_KEPT):
        end_consent(visit.context, application, number, purpose, action)
    return Phrase("The consent is withdrawn.")


@_act("ask", Permission.ERASE, confirmed=True)
def ask(visit: ConsoleRequest, number: SubjectKey) -> Phrase:
    application, action = visit.typed_application(), visit.field("act")
    if action not in set(DualControlAction):
        raise FormError("There is no such act.")
    user, reason = visit.signed_in, visit.field("reason")
    try:
        dual_control.ask(visit.context, user, DualControlAction(action), number.pseudonym, application, reason)
    except InvalidRequestError as refused:
        raise FormError(str(refused)) from refused
    return Phrase("It is asked for. A second person finds the same number here, and confirms.")


@_act("requests/<name>/confirm", Permission.ERASE, confirmed=True)
def confirm(visit: ConsoleRequest, number: SubjectKey, name: str) -> Phrase:
    """Confirm another user's request for this number."""
    with as_form_error(ConflictError, OVER, _GONE):
        was_done = dual_control.confirm(visit.context, visit.signed_in, name, number.pseudonym)
    return Phrase("It is done.") if was_done else Phrase("There was nothing left to do.")


@views.view("POST /compliance/<handle>/export", Permission.COMPLIANCE, confirmed=True)
def export(visit: ConsoleRequest, handle: str) -> Answer:
    """Return a number's data at the applications that the user may see."""
    number = visit.number(handle)
    visit.record_number_view(number.pseudonym, "export")
    return _download("export", export_document(visit.context, number, visit.signed_in.applications))


@views.view("POST /compliance/<handle>/pack", Permission.COMPLIANCE, confirmed=True)
def make_pack(visit: ConsoleRequest, handle: str) -> Answer:
    number, application = visit.number(handle), _named_application(visit)
    since, until = _day(visit, "since"), _day(visit, "until")
    until = None if until is None else until + DAY
    selection = DisputeFilter(pseudonym=number.pseudonym, application=application or None, since=since, until=until)
    days = {"from": visit.field("since"), "to": visit.field("until")}
    return _pack(visit, selection, {"subject": number.mask, "application": application, **days})


def _withdrawable(visit: ConsoleRequest, consents: Sequence[Consent]) -> list[Consent]:
    """Return the consents that are in force and can be withdrawn, newest first."""
    last: dict[tuple[str, str, str], Consent] = {}
    for consent in consents:
        if consent.key not in last or (consent.counts_from or 0) > (last[consent.key].counts_from or 0):
            last[consent.key] = consent
    known = visit.context.applications
    return [consent for consent in last.values() if not consent.withdrawn and consent.application in known]


def _day(visit: ConsoleRequest, name: str) -> int | None:
    if not (typed := visit.field(name)):
        return None
    with as_form_error(ValueError, "A day is written as 2026-11-29."):
        return round(datetime.strptime(typed, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)


def _named_application(visit: ConsoleRequest) -> str:
    return "" if (application := visit.typed_application()) == EVERY_APPLICATION else application


def _action(visit: ConsoleRequest, act: OperatorAction, application: str, details: str) -> OperatorActionEntry:
    return OperatorActionEntry(act, visit.operator, "" if application == EVERY_APPLICATION else application, details)


def _requests(visit: ConsoleRequest, requests: Iterable[DualControlRequest]) -> list[tuple[DualControlRequest, str]]:
    """Return the requests that the user may see, each with its state: ``open``, ``over``, or how it ended."""
    at, mine = now(), [request for request in requests if visit.signed_in.sees(request.application)]
    return [(request, "open" if request.is_open(at) else request.outcome or "over") for request in mine]


def _pack(visit: ConsoleRequest, selection: DisputeFilter, details: Mapping[str, str]) -> Answer:
    shown = {name: value for name, value in details.items() if value}
    document = build_dispute_evidence(visit.context, selection, shown)
    people = {row["row"]["pseudonym"] for row in document["rows"] if row["table"] == "verifications"}
    if not people:
        raise FormError("No verification was found.")
    for pseudonym in sorted(people):
        visit.record_number_view(pseudonym, "dispute-pack")
    return _download("dispute-pack", document)


def _download(name: str, document: Mapping[str, Any]) -> Answer:
    answer = Response(json.dumps(document, ensure_ascii=False, indent=2), content_type="application/json")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}-{datetime.now(UTC):%Y-%m-%d}.json"'
    return answer
