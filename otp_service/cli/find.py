"""otp-service find: the verifications of a number or of an identifier, and why no code came."""

import re
from collections.abc import Iterable
from operator import attrgetter
from typing import Any, Final

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command, parse_number, region_option
from otp_service.cli.guard import decision_members, print_decision
from otp_service.domain.keyring import time_of_request
from otp_service.domain.numbers import Destination
from otp_service.domain.verification import Delivery
from otp_service.errors import ConfigurationError, InvalidNumberError
from otp_service.services import number_history
from otp_service.services.explanations import explain_rules, sentence
from otp_service.services.identifiers import DAYS, FactorHistory, identify
from otp_service.services.number_history import ExplainedVerification, NumberHistory, VerificationHistory

_HEADINGS = (
    *("Message", "Time", "Channel", "Gateway", "Chosen", "Status", "Raw status", "Reason", "Reference"),
    "Dispatch",
)
_other_cells = attrgetter("channel", "gateway", "choice", "status", "raw_status", "reason", "reference", "dispatch_id")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_:]")
"""What no number has, in whatever spelling."""


@command(short_help="Show what became of the codes of a number or an id.")
@click.argument("what", metavar="NUMBER|ID")
@region_option
@click.option("--reference", is_flag=True, help="Take ID as a gateway's reference, even if it looks like a number.")
@click.option(
    "--days",
    type=click.IntRange(1, 400),
    default=DAYS,
    show_default=True,
    help="How far back a dispatch or a reference is looked for.",
)
def find(session: Session, what: str, region: str | None, *, reference: bool, days: int) -> None:
    """Show the last verifications of NUMBER, of all applications, newest first; or what ID belongs to.

    ID is the id of a verification, a dispatch, a request (X-Request-Id), a webhook, an authenticator app or a decision,
    or the reference that a gateway gave a message.

    For each verification: when it started, its status, every call to a gateway, and why the code did or did not arrive.
    No code is shown, and no number. Times are in UTC.
    """
    if reference or _IDENTIFIER.search(what):
        _find_identifier(session, what, days)
        return
    try:
        to = parse_number(what, region)
    except InvalidNumberError:
        if not what.isdecimal() or not _find_identifier(session, what, days, must=False):
            raise
    else:
        _find_number(session, to)


def _find_number(session: Session, to: Destination) -> None:
    found = number_history.find_number_history(session.context, to)
    cases = [_members(case, found) for case in found.verifications]
    if not out.in_json(to=to.mask, complete=found.complete and found.from_ledger, verifications=cases):
        _print(found)
    _warn(found.from_ledger, found.complete)
    end = "" if found.verifications else f"Nothing is remembered of {to.mask}. "
    others = "guard explain DECISION, limits show NUMBER, suppressions show NUMBER"
    out.note(f"{end}A refused start is not here: {out.program()} {others}")


def _find_identifier(session: Session, name: str, days: int, *, must: bool = True) -> bool:
    """Print what an identifier belongs to; return whether it is known, or raise `ConfigurationError` if it must be."""
    named = identify(session.context, name, days)
    histories = [number_history.find_verification(session.context, identifier) for identifier in named.verifications]
    cases = [(case, history) for history in histories for case in history.verifications]
    if not cases and not named.decisions and not named.factor:
        if must:
            _warn(named.from_ledger, named.complete)
            raise ConfigurationError(_unknown(name, days))
        return False
    explained = [
        (decision, list(explain_rules(decision, session.settings.guard.currency))) for decision in named.decisions
    ]
    whole = named.complete and all(history.complete for history in histories)
    from_ledger = named.from_ledger and all(history.from_ledger for history in histories)
    document = {
        "identifier": name,
        "complete": whole and from_ledger,
        "verifications": [_members(case, history) for case, history in cases],
        "decisions": [decision_members(*explanation) for explanation in explained],
        "factor": _factor_members(named.factor) if named.factor else None,
    }
    if not out.in_json(**document):
        for history in histories:
            _print(history)
        for explanation in explained:
            print_decision(*explanation)
        if named.factor:
            _print_factor(named.factor)
    _warn(from_ledger, whole)
    return True


def _unknown(name: str, days: int) -> str:
    if at := time_of_request(name):
        return (
            f"Nothing is known of {name}, a request of {out.moment(at)}: "
            "it changed nothing, or that is no longer kept. The log has its line."
        )
    return f"Nothing is known of {name}. Dispatches and references were looked for in the last {days} days (--days)."


def _warn(from_ledger: bool, complete: bool) -> None:  # noqa: FBT001 - as histories say it
    if not from_ledger:
        out.warn("the ledger does not answer: what is told here is what Redis remembers, and may lack something.")
    if not complete:
        out.warn("there are too many events to read them all: what is told of older verifications may lack something.")


def _print(found: NumberHistory) -> None:
    for case in found.verifications:
        click.secho(_heading(case.history), bold=out.is_terminal())
        if case.history.deliveries:
            out.table("deliveries", _HEADINGS, map(_row, case.history.deliveries))
        click.echo(out.wrap(f"→ {sentence(case, found)}", indent=2) + "\n")


def _members(case: ExplainedVerification, found: NumberHistory) -> dict[str, Any]:
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
        "sentence": str(sentence(case, found)),
    }


def _heading(history: VerificationHistory) -> str:
    about = (history.application, history.purpose, history.country)
    began, checks = out.moment(history.started), f"{out.count_of(history.checks, 'code')} compared"
    words = (history.mask, history.id, history.status or "ended", *about)
    return out.join_in_lines([began, *filter(None, words), checks])


def _row(delivery: Delivery) -> out.Row:
    return f"{delivery.message}.{delivery.dispatch}", out.when(delivery.at), *_other_cells(delivery)


def _factor_rows(factor: FactorHistory) -> Iterable[out.Row]:
    return ((out.when(event.at), event.type, event.member("reason")) for event in factor.events)


_FACTOR_HEADINGS = ("Time", "What", "Reason")


def _factor_members(factor: FactorHistory) -> dict[str, Any]:
    events = out.records(_FACTOR_HEADINGS, list(_factor_rows(factor)))
    return {"id": factor.id, "application": factor.application, "events": events}


def _print_factor(factor: FactorHistory) -> None:
    click.secho(out.join_in_lines([factor.id, factor.application]), bold=out.is_terminal())
    out.table("events", _FACTOR_HEADINGS, _factor_rows(factor))
