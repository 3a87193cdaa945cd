"""otp-service find: the last verifications of a number, and why no code came."""

from operator import attrgetter
from typing import Any

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command, phone_number
from otp_service.domain.numbers import Destination
from otp_service.domain.verification import Delivery
from otp_service.services import number_history
from otp_service.services.explanations import sentence
from otp_service.services.number_history import ExplainedVerification, NumberHistory, VerificationHistory

_HEADINGS = ("Message", "Time", "Channel", "Gateway", "Chosen", "Status", "Raw status", "Reason", "Reference")
_other_cells = attrgetter("channel", "gateway", "choice", "status", "raw_status", "reason", "reference")


@command(short_help="Tell what became of a number's codes.")
@phone_number
def find(session: Session, to: Destination) -> None:
    """Tell what became of the last codes for NUMBER, of all applications, the newest first.

    For each verification: when it started, its status, every call to a gateway, and why the code did or did not arrive.
    No code is shown, and no number. Times are in UTC.
    """
    found = number_history.find_number_history(session.context, to)
    cases = [_members(case, found) for case in found.verifications]
    if not out.in_json(to=to.mask, complete=found.complete, verifications=cases):
        _print(found)
    if not found.from_ledger:
        out.warn("the ledger does not answer: what is told here is what Redis remembers, and may lack something.")
    if not found.complete:
        out.warn("there are too many events to read them all: what is told of older verifications may lack something.")
    end = "" if found.verifications else f"Nothing is remembered of {to.mask}. "
    others = "guard explain DECISION, limits show NUMBER, suppressions show NUMBER"
    out.note(f"{end}A refused start is not here: {out.program()} {others}")


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
        "to": history.mask,
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
    return out.join_in_lines([began, history.mask, history.id, history.status or "ended", *filter(None, about), checks])


def _row(delivery: Delivery) -> out.Row:
    return f"{delivery.message}.{delivery.dispatch}", out.when(delivery.at), *_other_cells(delivery)
