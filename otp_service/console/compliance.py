"""Compliance: what is held of a person, and by whom it was looked at; what is to be proven; what takes two people."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from flask import Response, request

from otp_service.clock import now
from otp_service.console.visits import Answer, Views, Visit
from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.domain.consents import (
    EVERY_APPLICATION,
    SETTABLE_SCOPES,
    Consent,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    active_freezes,
    is_suppressed,
)
from otp_service.domain.console_users import Permission
from otp_service.domain.guard import DAY
from otp_service.domain.numbers import NumberType, SubjectKey, is_region, parse_destination, subject_key
from otp_service.errors import (
    ConflictError,
    ConsentNotKeptError,
    InvalidRequestError,
    StoreUnavailableError,
    UnacceptableError,
)
from otp_service.ledger.audit import DisputeFilter
from otp_service.ledger.console import Look, SecondPersonRequest, TwoPersonAct
from otp_service.ledger.retention import PURGE_RULES
from otp_service.services import second_person
from otp_service.services.audit import make_dispute_pack
from otp_service.services.consents import add_suppressions, end_consent, is_reason, suppressions_of
from otp_service.services.operator_actions import latest_actions
from otp_service.services.second_person import Wish
from otp_service.services.subjects import export_document, export_of_applications, freeze
from otp_service.store import keys

views = Views()
_BAD, _GONE, _AWAY = 422, 409, 503
_MOST: Final = 50
"""Rows of a table that grows without end."""
_MOST_HELD: Final = 100
"""Rows of a table of one number; its export has all."""
_HANDLE_LIFE: Final = 1000 * keys.console_handle.seconds
"""Milliseconds in which a page that is shown again is one look."""

SAID: Final[Mapping[str, str]] = {
    "frozen": "The number is frozen.",
    "suppressed": "The number gets no more messages.",
    "withdrawn": "The consent is withdrawn.",
    "asked": "It is asked for. A second person finds the same number here, and confirms.",
    "done": "It is done.",
    "nothing": "There was nothing left to do.",
    "declined": "It is declined.",
}
"""What pages say after a form was sent."""
FAULTS: Final[Mapping[str, str]] = {
    "number": "This is no phone number that can be looked up.",
    "region": "There is no such region. It has two letters, such as PK.",
    "reason": "A reason is needed, of at most 200 characters, without a phone number.",
    "words": "A reason has at most 200 characters, and no phone number.",
    "application": "There is no application of this name.",
    "scope": "There is no such scope.",
    "until": "The day is in the past, or it is none.",
    "purpose": "The application keeps no consents for this purpose.",
    "act": "There is no such act.",
    "over": "This request is over: somebody decided, or nobody did in time, or whoever asked may not any more.",
    "days": "A day is written as 2026-11-29.",
    "found": "No verification was found.",
    "about": "Say of which verification, or of which payment of which application.",
    "recorded": "It may be recorded already, and is in force as soon as Redis answers. To do it again does no harm.",
}
"""What is wrong."""


class _FaultError(Exception):
    """Something in a form is wrong: a key of `FAULTS`."""

    def __init__(self, fault: str, status: int = _BAD) -> None:
        super().__init__(fault)
        self.fault, self.status = fault, status


# --- all numbers ---


@views.view("GET /compliance", Permission.COMPLIANCE, title="Compliance")
def show_compliance(visit: Visit) -> Answer:
    """Show what waits for a second person, what operators did and looked at, retention, and the audit chain."""
    return _overview(visit)


@views.view("POST /compliance", Permission.COMPLIANCE)
def look_up(visit: Visit) -> Answer:
    """Record that somebody looks at a number, and lead him to it."""
    try:
        to, reason = _number_of_form(visit), _reason(visit)
    except _FaultError as wrong:
        return _overview(visit, wrong)
    _record(visit, to.pseudonym, "compliance", reason)
    return visit.to(f"/compliance/{visit.context.store.console_sessions.point_to(visit.own_session, to)}")


@views.view("POST /compliance/pack", Permission.COMPLIANCE, confirmed=True)
def make_pack_of_verification(visit: Visit) -> Answer:
    """Hand out a dispute pack of one verification, or of a payment by its reference."""
    try:
        return _pack(visit, *_verification_of_form(visit))
    except _FaultError as wrong:
        return _overview(visit, wrong)


@views.view("POST /compliance/requests/<name>/decline", Permission.ERASE)
def decline(visit: Visit, name: str) -> Answer:
    """Decline what somebody asked for, or take back what the user asked for himself."""
    try:
        second_person.decline(visit.context, visit.signed_in, name)
    except ConflictError:
        return _overview(visit, _FaultError("over", _GONE))
    return visit.to("/compliance?said=declined")


def _overview(visit: Visit, wrong: _FaultError | None = None) -> Answer:
    context, user = visit.context, visit.signed_in
    ledger = context.ledger
    chain, signed = ledger.audit.head(), ledger.audit.last_signed()
    return visit.page(
        "compliance.html",
        wrong.status if wrong else 200,
        **_told(wrong),
        region=_usual_region(visit),
        applications=_choices(visit),
        requests=_requests(visit, ledger.second_person_requests.latest(_MOST)),
        actions=latest_actions(context, _MOST, user.applications),
        looks=ledger.looks.latest(_MOST, user.name if user.applications else None),
        retention=[(name, getattr(visit.settings.retention, name), ledger.purges.latest(name)) for name in PURGE_RULES],
        purged=ledger.purges.last_began(),
        signed=signed,
        since=chain.sequence - (signed.head.sequence if signed else 0),
    )


# --- one number ---


@views.view("GET /compliance/<handle>", Permission.COMPLIANCE)
def show_number(visit: Visit, handle: str) -> Answer:
    """Show consents and suppressions of a number, who looked at it, and what is asked for."""
    return _number_page(visit, handle, visit.number(handle))


@views.view("POST /compliance/<handle>/freeze", Permission.FREEZE)
def freeze_number(visit: Visit, handle: str) -> Answer:
    """Stop everything for a number: fraud was reported."""

    def do(number: SubjectKey) -> str:
        application, reason = _application(visit), _reason(visit)
        freeze(visit.context, number, application, SuppressionSource.OPERATOR, reason, visit.operator)
        return "frozen"

    return _act(visit, handle, do)


@views.view("POST /compliance/<handle>/suppress", Permission.COMPLIANCE)
def suppress_number(visit: Visit, handle: str) -> Answer:
    """Let a number get no more messages."""

    def do(number: SubjectKey) -> str:
        application, scope = _application(visit), visit.field("scope")
        if scope not in SETTABLE_SCOPES:
            raise _FaultError("scope")
        entry = Suppression(
            number.pseudonym,
            application,
            SuppressionScope(scope),
            SuppressionSource.OPERATOR,
            _reason(visit),
            _until(visit),
        )
        add_suppressions(visit.context, (entry,), _action(visit, OperatorAction.SUPPRESSION_ADDED, application, scope))
        return "suppressed"

    return _act(visit, handle, do)


@views.view("POST /compliance/<handle>/withdraw", Permission.COMPLIANCE)
def withdraw_consent(visit: Visit, handle: str) -> Answer:
    """Record that a person agrees no more."""

    def do(number: SubjectKey) -> str:
        name, purpose = _application(visit), visit.field("purpose")
        application = visit.context.applications.get(name)
        if application is None or purpose not in application.purposes:
            raise _FaultError("purpose")
        act = _action(visit, OperatorAction.CONSENT_WITHDRAWN, name, purpose)
        try:
            end_consent(visit.context, application, number, purpose, act)
        except ConsentNotKeptError as off:
            raise _FaultError("purpose") from off
        return "withdrawn"

    return _act(visit, handle, do)


@views.view("POST /compliance/<handle>/ask", Permission.ERASE, confirmed=True)
def ask(visit: Visit, handle: str) -> Answer:
    """Ask for what a second person has to confirm."""

    def do(number: SubjectKey) -> str:
        application, act = _application(visit), visit.field("act")
        if act not in set(TwoPersonAct):
            raise _FaultError("act")
        wish = Wish(TwoPersonAct(act), number.pseudonym, application, visit.field("reason"))
        try:
            second_person.ask(visit.context, visit.signed_in, wish)
        except InvalidRequestError as refused:
            raise _FaultError("reason") from refused
        return "asked"

    return _act(visit, handle, do)


@views.view("POST /compliance/<handle>/requests/<name>/confirm", Permission.ERASE, confirmed=True)
def confirm(visit: Visit, handle: str, name: str) -> Answer:
    """Do what somebody else asked for about this number."""

    def do(number: SubjectKey) -> str:
        try:
            return "done" if _confirm(visit, name, number) else "nothing"
        except ConflictError as over:
            raise _FaultError("over", _GONE) from over

    return _act(visit, handle, do)


def _confirm(visit: Visit, name: str, number: SubjectKey) -> bool:
    return second_person.confirm(visit.context, visit.signed_in, name, number.pseudonym)


@views.view("POST /compliance/<handle>/export", Permission.COMPLIANCE, confirmed=True)
def export(visit: Visit, handle: str) -> Answer:
    """Hand out all that is held of a number at the applications that the user may see, for the person who asks."""
    number = visit.number(handle)
    _record(visit, number.pseudonym, "export")
    parts = export_of_applications(visit.context, number, visit.signed_in.applications)
    return _download("export", export_document(number.mask, parts))


@views.view("POST /compliance/<handle>/pack", Permission.COMPLIANCE, confirmed=True)
def make_pack(visit: Visit, handle: str) -> Answer:
    """Hand out a dispute pack of a number."""
    number = visit.number(handle)
    try:
        return _pack(visit, *_span_of_form(visit, number))
    except _FaultError as wrong:
        return _number_page(visit, handle, number, wrong)


def _act(visit: Visit, handle: str, do: Callable[[SubjectKey], str]) -> Answer:
    """Do something with a number, which returns what is said of it (`SAID`), and lead back to it."""
    number = visit.number(handle)
    page = "compliance" if visit.signed_in.may(Permission.COMPLIANCE) else "find"
    try:
        said = do(number)
    except _FaultError as wrong:
        return _number_page(visit, handle, number, wrong)
    except StoreUnavailableError:
        return _number_page(visit, handle, number, _FaultError("recorded", _AWAY))
    return visit.to(f"/{page}/{handle}?said={said}")


def _number_page(visit: Visit, handle: str, number: SubjectKey, wrong: _FaultError | None = None) -> Answer:
    context, user = visit.context, visit.signed_in
    if not user.may(Permission.COMPLIANCE):  # who may freeze a number, and no more, sees it elsewhere
        return visit.page("compliance_fault.html", wrong.status if wrong else _BAD, handle=handle, **_told(wrong))
    _record(visit, number.pseudonym, "compliance", within=_HANDLE_LIFE)
    consents = context.ledger.consents.all_of(number.pseudonym, _MOST_HELD, user.applications)
    entries = suppressions_of(context, number.pseudonym)
    mine = [one for one in entries if user.sees(one.application) or one.application == EVERY_APPLICATION]
    at = now()
    return visit.page(
        "compliance_number.html",
        wrong.status if wrong else 200,
        **_told(wrong),
        handle=handle,
        number=number,
        consents=consents,
        given=_given(visit, consents),
        suppressions=tuple(reversed(mine))[:_MOST_HELD],
        frozen=list(dict.fromkeys(one.application for one in active_freezes(mine))),
        kept_back=[name for name in dict.fromkeys(one.application for one in mine) if _is_kept_back(mine, name, at)],
        requests=_requests(visit, context.ledger.second_person_requests.about(number.pseudonym, _MOST)),
        looks=context.ledger.looks.at(number.pseudonym, _MOST),
        applications=_choices(visit),
        scopes=SETTABLE_SCOPES,
        acts=list(TwoPersonAct),
        permission=Permission,
    )


def _given(visit: Visit, consents: Sequence[Consent]) -> list[Consent]:
    """Return the consents that are in force and can be withdrawn, of those given newest first."""
    last: dict[tuple[str, str, str], Consent] = {}
    for one in consents:
        if one.about not in last or (one.counts_from or 0) > (last[one.about].counts_from or 0):
            last[one.about] = one
    known = visit.context.applications
    return [one for one in last.values() if not one.withdrawn and one.application in known]


def _is_kept_back(entries: list[Suppression], application: str, at: int) -> bool:
    return is_suppressed([one for one in entries if one.application == application], at)


# --- what forms say ---


def _number_of_form(visit: Visit) -> SubjectKey:
    region = visit.field("region").upper()
    if region and not is_region(region):
        raise _FaultError("region")
    try:
        to = parse_destination(visit.field("number"), region or None, tuple(NumberType))
    except UnacceptableError as invalid:
        raise _FaultError("number") from invalid
    return subject_key(visit.context.keyring, to)


def _usual_region(visit: Visit) -> str:
    """Return the region of the user's applications, empty where they have several, or none."""
    regions = {visit.context.applications[name].region or "" for name in visit.applications}
    return regions.pop() if len(regions) == 1 else ""


def _choices(visit: Visit) -> tuple[str, ...]:
    """Return the applications that the user may act for; last, not to be chosen by mistake, all, if he sees all."""
    every = (EVERY_APPLICATION,) if visit.signed_in.sees(EVERY_APPLICATION) else ()
    return (*visit.applications, *every)


def _application(visit: Visit) -> str:
    if (application := visit.field("application")) not in _choices(visit):
        raise _FaultError("application")
    return application


def _reason(visit: Visit) -> str:
    if not is_reason(reason := visit.field("reason")):
        raise _FaultError("words")
    return reason


def _day(visit: Visit, name: str) -> int | None:
    """Return the beginning of a day (UTC), ``None`` where none was typed."""
    if not (typed := visit.field(name)):
        return None
    try:
        return round(datetime.strptime(typed, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError as malformed:
        raise _FaultError("days") from malformed


def _until(visit: Visit) -> int | None:
    until = _day(visit, "until")
    if until is not None and until <= now():
        raise _FaultError("until")
    return until


def _told(wrong: _FaultError | None) -> dict[str, str]:
    said = SAID.get(request.args.get("said", ""), "") if wrong is None else ""
    return {"said": said, "fault": FAULTS[wrong.fault] if wrong else ""}


def _verification_of_form(visit: Visit) -> tuple[DisputeFilter, dict[str, str]]:
    """Return what a dispute pack is wanted of, and how that may be shown."""
    named, verification, reference = _named_application(visit), visit.field("verification"), visit.field("reference")
    if not verification and not (reference and named):
        raise _FaultError("about")
    payment = visit.context.keyring.reference_name(named, reference) if reference else None
    wanted = DisputeFilter(verification or None, payment, application=named or None)
    return wanted, {"verification": verification, "application": named, "reference": reference}


def _span_of_form(visit: Visit, number: SubjectKey) -> tuple[DisputeFilter, dict[str, str]]:
    """Return the same for a number and a time."""
    named, since, until = _named_application(visit), _day(visit, "since"), _day(visit, "until")
    wanted = DisputeFilter(
        pseudonym=number.pseudonym,
        application=named or None,
        since=since,
        until=None if until is None else until + DAY,
    )
    days = {"from": visit.field("since"), "to": visit.field("until")}
    return wanted, {"subject": number.mask, "application": named, **days}


def _named_application(visit: Visit) -> str:
    """Return the application that was chosen, empty for all."""
    return "" if (application := _application(visit)) == EVERY_APPLICATION else application


# --- what is recorded, and handed out ---


def _record(visit: Visit, pseudonym: str, view: str, reason: str = "", within: int = 0) -> None:
    """Record a look before anything is shown: without the ledger nobody sees anything."""
    visit.context.ledger.looks.record(Look(visit.signed_in.name, view, pseudonym, reason), within)


def _action(visit: Visit, act: OperatorAction, application: str, about: str) -> OperatorActionEntry:
    return OperatorActionEntry(act, visit.operator, "" if application == EVERY_APPLICATION else application, about)


def _requests(visit: Visit, found: Iterable[SecondPersonRequest]) -> list[tuple[SecondPersonRequest, str]]:
    """Return the requests that the user may see, each with its state: ``open``, ``over``, or how it ended."""
    at, mine = now(), [one for one in found if visit.signed_in.sees(one.application)]
    return [(one, "open" if one.is_open(at) else one.outcome or "over") for one in mine]


def _pack(visit: Visit, wanted: DisputeFilter, about: Mapping[str, str]) -> Answer:
    shown = {name: value for name, value in about.items() if value}
    document = make_dispute_pack(visit.context, wanted, shown)
    people = {one["row"]["pseudonym"] for one in document["rows"] if one["table"] == "verifications"}
    if not people:
        raise _FaultError("found")
    for pseudonym in sorted(people):
        _record(visit, pseudonym, "dispute-pack")
    return _download("dispute-pack", document)


def _download(name: str, document: Mapping[str, Any]) -> Answer:
    answer = Response(json.dumps(document, ensure_ascii=False, indent=2), content_type="application/json")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}-{datetime.now(UTC):%Y-%m-%d}.json"'
    return answer
