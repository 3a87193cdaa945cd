"""otp-service find: the verifications of a number or of an identifier, and why no code came."""

import re
from operator import attrgetter
from typing import Any, Final

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command, parse_number, region_option
from otp_service.cli.guard import decision_members, print_decision
from otp_service.domain.keyring import time_of_request
from otp_service.domain.verification import Delivery
from otp_service.errors import ConfigurationError, InvalidNumberError
from otp_service.services import number_history
from otp_service.services.explanations import explain_rules, sentence
from otp_service.services.identifiers import DAYS, identify
from otp_service.services.number_history import ExplainedVerification, NumberHistory

_HEADINGS = (
    *("Message", "Time", "Channel", "Gateway", "Chosen", "Status", "Raw status", "Reason", "Reference"),
    "Dispatch",
)
_other_cells = attrgetter("channel", "gateway", "choice", "status", "raw_status", "reason", "reference", "dispatch_id")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_:]")
"""Characters that no spelling of a number has."""


@command(short_help="Show the delivery of codes by number or id.")
@click.argument("name", metavar="NUMBER|ID")
@region_option
@click.option("--reference", is_flag=True, help="Take ID as a gateway's reference, even if it looks like a number.")
@click.option(
    "--days",
    type=click.IntRange(1, 400),
    default=DAYS,
    show_default=True,
    help="Days of dispatches and references to search.",
)
def find(session: Session, name: str, region: str | None, *, reference: bool, days: int) -> None:
    """Show the last verifications of NUMBER, of all applications, newest first; or the verifications of ID.

    ID is the id of a verification, a dispatch, a request (X-Request-Id), a webhook, an authenticator app or a decision,
    or a gateway's reference of a message.

    For each verification: its start, its status, every call to a gateway, and why the code did or did not arrive. No
    code is shown, and no number. Times are in UTC.
    """
    if reference or _IDENTIFIER.search(name):
        _find_identifier(session, name, days)
        return
    try:
        to = parse_number(name, region)
    except InvalidNumberError:
        if not name.isdecimal() or not _find_identifier(session, name, days, must=False):
            raise
        return
    history = number_history.find_number_history(session.context, to)
    cases = [_members(case, history) for case in history.verifications]
    if not out.in_json(to=to.mask, complete=history.complete and history.from_ledger, verifications=cases):
        _print(history)
    _warn(history.from_ledger, history.complete)
    end = "" if history.verifications else f"No verification of {to.mask} is stored. "
    others = "guard explain DECISION, limits show NUMBER, suppressions show NUMBER"
    out.note(f"{end}Refused starts are not listed: {out.program()} {others}")


def _find_identifier(session: Session, name: str, days: int, *, must: bool = True) -> bool:
    """Print the history of an identifier; return whether it is known, or raise `ConfigurationError` if it must be."""
    named = identify(session.context, name, days)
    histories = [number_history.find_verification(session.context, identifier) for identifier in named.verifications]
    cases = [(case, history) for history in histories for case in history.verifications]
    if not cases and not named.decisions and not named.factor:
        if not must:
            return False
        _warn(named.from_ledger, named.complete)
        if at := time_of_request(name):
            raise ConfigurationError(
                f"{name} was not found: the request of {out.moment(at)} changed nothing, or its data were deleted. "
                "The log has its line."
            )
        raise ConfigurationError(
            f"{name} was not found. Dispatches and references were searched in the last {days} days (--days)."
        )
    explained = [
        (decision, list(explain_rules(decision, session.settings.guard.currency))) for decision in named.decisions
    ]
    whole = named.complete and all(history.complete for history in histories)
    from_ledger = named.from_ledger and all(history.from_ledger for history in histories)
    factor, headings = named.factor, ("Time", "What", "Reason")
    rows = [(out.when(event.at), event.type, event.member("reason")) for event in (factor.events if factor else ())]
    events = out.records(headings, rows)
    document = {
        "identifier": name,
        "complete": whole and from_ledger,
        "verifications": [_members(case, history) for case, history in cases],
        "decisions": [decision_members(*explanation) for explanation in explained],
        "factor": {"id": factor.id, "application": factor.application, "events": events} if factor else None,
    }
    if not out.in_json(**document):
        for history in histories:
            _print(history)
        for explanation in explained:
            print_decision(*explanation)
        if factor:
            click.secho(out.join_in_lines([factor.id, factor.application]), bold=out.is_terminal())
            out.table("events", headings, rows)
    _warn(from_ledger, whole)
    return True


def _warn(from_ledger: bool, complete: bool) -> None:  # noqa: FBT001 - as in histories
    if not from_ledger:
        out.warn("the ledger does not answer: this is the data of Redis only, and may be incomplete.")
    if not complete:
        out.warn("only the latest events were read: older verifications may be incomplete.")


def _print(numbers: NumberHistory) -> None:
    for case in numbers.verifications:
        history = case.history
        began, checks = out.moment(history.started), f"{out.count_of(history.checks, 'code')} compared"
        names = (history.mask, history.id, history.status or "ended")
        scope = (history.application, history.purpose, history.country)
        heading = out.join_in_lines([began, *filter(None, (*names, *scope)), checks])
        click.secho(heading, bold=out.is_terminal())
        if history.deliveries:
            out.table("deliveries", _HEADINGS, map(_row, history.deliveries))
        click.echo(out.wrap(f"→ {sentence(case, numbers)}", indent=2) + "\n")


def _members(case: ExplainedVerification, numbers: NumberHistory) -> dict[str, Any]:
    history = case.history
    return {
        "id": history.id,
        "to": history.mask or None,
        "application": history.application or None,
        "purpose": history.purpose or None,
        "country": history.country or None,
        "started_at": out.when(history.started),
        "status": history.status,
        "checks": history.checks,
        "deliveries": out.records(_HEADINGS, map(_row, history.deliveries)),
        "why": case.explanation.why,
        "sentence": str(sentence(case, numbers)),
    }


def _row(delivery: Delivery) -> out.Row:
    return f"{delivery.message}.{delivery.dispatch}", out.when(delivery.at), *_other_cells(delivery)
