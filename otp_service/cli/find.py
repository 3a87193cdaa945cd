"""otp-service find: the last verifications of a number, and why no code came."""

from collections import Counter
from operator import attrgetter
from typing import Any

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command, phone_number
from otp_service.domain.numbers import Destination
from otp_service.domain.verification import Delivery, Status
from otp_service.services import number_history
from otp_service.services.number_history import ExplainedVerification, NumberHistory, VerificationHistory, Why

_SENTENCES = {
    Why.DELIVERED: "The code arrived: {gateway} reported at {at} that the handset has it.",
    Why.CHECKED: "The code arrived: it was typed, and it was right.",
    Why.TAKEN: "{gateway} took the message at {at}, {silence}.",
    Why.UNDELIVERED: "The code did not arrive: {gateway} reported {reported}.",
    Why.TOO_LATE_THERE: "The code did not arrive: {gateway} reported that the message became too old on its way.",
    Why.DESTINATION: "The code was not sent: {gateway} says that this number does not work ({reason}).",
    Why.REJECTED: "The code was not sent: {gateway} refuses our account or our message ({reason}); tell the operator.",
    Why.FRAUD: "The code was not sent: {gateway} suspects fraud ({reason}).",
    Why.CHANNEL: "The code was not sent: {gateway} does not reach this number through {channel} ({reason}).",
    Why.ALL_FAILED: "The code was not sent: {failures}.",
    Why.TRIED_AGAIN: "The code was not sent yet: {failures}; it will be tried again.",
    Why.NOBODY_KNOWS: "Nobody knows whether the code arrived: {gateway} did not say that it sent it ({reason}).",
    Why.IN_HAND: "The message is being handed to {gateway} at this moment.",
    Why.WAITS: "The message waits for a worker since {begun}.",
    Why.NO_WORKER: "The message waits: no worker was seen lately; tell the operator.",
    Why.BLOCKED: "The message waits: all its gateways ({route}) are left alone (otp-service gateway status).",
    Why.NO_ROUTE: "The code was not sent: no gateway is configured that carries {channel} for {purpose} to {country}.",
    Why.POLICY: "The code was not sent: a policy of this site kept it back ({reason}).",
    Why.SPENT: "No further gateway was called: that would have passed a spending ceiling (otp-service guard status).",
    Why.SUPPRESSED: "The code was not sent: the number gets no messages there (otp-service suppressions show).",
    Why.FROZEN: "The code was not sent: the number is frozen there, for fraud (otp-service suppressions show).",
    Why.NO_CONSENT: "The code was not sent: the consent to such messages was withdrawn meanwhile.",
    Why.TOO_LATE: "The code was not sent: nobody delivered the message while the code lived; tell the operator.",
    Why.ENDED_FIRST: "The code was not sent: the verification had ended before ({status}).",
    Why.UNREADABLE: "The code was not sent: the message could not be read; its key or its application has left the "
    "configuration, or a newer release wrote it.",
    Why.DEFECT: "The code was not sent: this service could not write the message; tell the operator.",
    Why.FORGOTTEN: "What became of the code is no longer known: the events do not reach back so far.",
}


def sentence(case: ExplainedVerification, found: NumberHistory) -> str:
    """Return why the code of a verification did or did not arrive."""
    explanation, history = case.explanation, case.history
    about = explanation.delivery
    return _SENTENCES[explanation.why].format(
        gateway=(about and about.gateway) or "a gateway",
        channel=(about and about.channel) or "its channel",
        reason=(about and about.reason) or "no reason given",
        at=out.moment(about.at) if about else "",
        begun=out.moment(about.begun) if about else "",
        reported=_reported(about) if about else "",
        silence=_silence(history, about, found) if about else "",
        failures=_failures(explanation.failures),
        route=", ".join(case.route),
        purpose=history.purpose or "its purpose",
        country=history.country or "its country",
        status=history.status or "it is not known how",
    )


def _reported(about: Delivery) -> str:
    return " ".join([f'"{about.raw_status or about.status}"', *([f"({about.reason})"] if about.reason else [])])


def _silence(history: VerificationHistory, about: Delivery, found: NumberHistory) -> str:
    """Tell why it is not known whether a message that a gateway took arrived."""
    if about.gateway not in found.reporting:
        return "and is not asked to report what becomes of it"
    return f"and has {'not reported yet' if history.status is Status.PENDING else 'never reported'} what became of it"


def _failures(failures: tuple[Delivery, ...]) -> str:
    """Name each way in which a gateway failed, once, with how often."""
    if not failures:
        return "no gateway was free to take the message while the code lived"
    counted = Counter((one.gateway, one.reason or one.status) for one in failures)
    *others, last = (
        f"{gateway} failed{f' {count} times' if count > 1 else ''} ({reason})"
        for (gateway, reason), count in counted.items()
    )
    return f"{', '.join(others)} and {last}" if others else last


_HEADINGS = ("Message", "Time", "Channel", "Gateway", "Chosen", "Status", "Raw status", "Reason", "Reference")
_other_cells = attrgetter("channel", "gateway", "choice", "status", "raw_status", "reason", "reference")


@command(short_help="Tell what became of a number's codes.", reads=True)
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
        "sentence": sentence(case, found),
    }


def _heading(history: VerificationHistory) -> str:
    about = (history.application, history.purpose, history.country)
    began, checks = out.moment(history.started), f"{out.count_of(history.checks, 'code')} compared"
    return out.join_in_lines([began, history.mask, history.id, history.status or "ended", *filter(None, about), checks])


def _row(delivery: Delivery) -> out.Row:
    return f"{delivery.message}.{delivery.dispatch}", out.when(delivery.at), *_other_cells(delivery)
