"""Operations: gateways, queues, dead letters; pausing gateways and putting messages back."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from flask import request

from otp_service.console import plots
from otp_service.console.accounts import Permission
from otp_service.console.requests import Answer, ConsoleRequest, FormError, Views
from otp_service.domain.phrases import Phrase
from otp_service.errors import ForbiddenError, NotFoundError
from otp_service.services import operations, operator_actions
from otp_service.services.mirror import MISMATCHES, MirrorState
from otp_service.services.operations import IN_VAIN, LONGEST_PAUSE, MINUTE, REDRIVE_WORDS
from otp_service.store.outbox import DeadLetter, RedriveResult

views = Views()
_PAGE: Final = "/operations"
_MINUTES: Final = (15, 60, 240, 1440, LONGEST_PAUSE)
"""Selectable lengths of a pause."""
_HOURS: Final = (24, 3, 168)
"""Selectable hours of traffic, the default first."""
_ROWS: Final = 50
_MIRROR_WORDS: Final[Mapping[MirrorState, str]] = {
    MirrorState.OK: "Redis knows all of the ledger.",
    MirrorState.BEHIND: "Redis is behind the ledger: {lag} changes.",
    MirrorState.ABSENT: "Redis knows nothing of this ledger yet: starts are refused.",
    **MISMATCHES,
}


@views.view("GET /operations", Permission.OPERATE, title="Operations")
def show_operations(visit: ConsoleRequest) -> Answer:
    report = operations.report_operations(visit.context, visit.signed_in.sees)
    requested = request.args.get("hours", "")
    hours = int(requested) if requested in map(str, _HOURS) else _HOURS[0]
    traffic = operations.gateway_traffic(visit.context, hours, visit.applications)
    axis, count = plots.Axis(traffic.since, traffic.until, "hour"), visit.stats.rounded
    bad = axis.values(traffic.hours, lambda row: count(row.bad))
    calls = axis.values(traffic.hours, lambda row: count(row.calls))
    return visit.page(
        "operations.html",
        report=report,
        mirror=_MIRROR_WORDS[report.mirror.state],
        is_mismatch=report.mirror.state in MISMATCHES,
        minutes=_MINUTES,
        may_pause=visit.signed_in.sees_all,
        in_vain=IN_VAIN,
        hours=hours,
        spans=sorted(_HOURS),
        traffic=traffic,
        rows=traffic.places[:_ROWS],
        drawing=plots.lines(visit.words("Calls of gateways by hour"), axis.labels, bad, calls),
        stats=visit.stats,
    )


def _require_gateway(visit: ConsoleRequest, name: str) -> None:
    if not visit.signed_in.sees_all:
        raise ForbiddenError("Gateways carry messages of applications that this user does not see.")
    if name not in visit.context.gateways:
        raise NotFoundError("There is no such gateway.")


@views.view("POST /operations/gateways/<name>/pause", Permission.OPERATE)
def pause(visit: ConsoleRequest, name: str) -> Answer:
    _require_gateway(visit, name)
    minutes = visit.field("minutes")
    if not (minutes.isascii() and minutes.isdigit() and len(minutes) <= len(str(LONGEST_PAUSE))):
        raise FormError("Say for how many minutes.")
    if not 1 <= int(minutes) <= LONGEST_PAUSE:
        raise FormError("A pause lasts from a minute to 30 days.")
    operator_actions.pause_gateway(visit.context, name, int(minutes) * MINUTE, visit.operator)
    notes = [Phrase("The gateway {gateway} is paused for {minutes} minutes.", {"gateway": name, "minutes": minutes})]
    if operations.is_route_down(visit.context):
        notes.append(Phrase("A route has no other gateway left: its messages wait until their codes end."))
    return visit.done(_PAGE, *notes)


@views.view("POST /operations/gateways/<name>/resume", Permission.OPERATE)
def resume(visit: ConsoleRequest, name: str) -> Answer:
    _require_gateway(visit, name)
    operator_actions.resume_gateway(visit.context, name, visit.operator)
    return visit.done(_PAGE, Phrase("Messages go through {gateway} again.", {"gateway": name}))


@views.view("POST /operations/dead-letters", Permission.OPERATE, confirmed=True)
def redrive(visit: ConsoleRequest) -> Answer:
    """Requeue dead letters: the selected ones, or all with one reason whose codes may still be valid."""
    sees, store = visit.signed_in.sees, visit.context.store.dead_letters
    if reason := visit.field("reason"):
        letters = operations.dead_letters_for_reason(visit.context, reason, sees)
    else:
        chosen = (store.find(name) for name in dict.fromkeys(request.form.getlist("letter")))
        letters = [letter for letter in chosen if letter and sees(letter.member("application"))]
    if not letters:
        raise FormError("No dead letter was chosen, or those that were have gone.")
    became: Counter[tuple[str, str]] = Counter()

    def note(_: DeadLetter, result: RedriveResult, why: str) -> None:
        became[REDRIVE_WORDS[result], why] += 1

    back = operator_actions.redrive(visit.context, letters, visit.operator, note)
    counted = Phrase("{count} of {all} messages were put back.", {"count": back, "all": len(letters)})
    left = [
        Phrase("{count} " + words, {"count": count, "why": why})
        for (words, why), count in became.items()
        if words != REDRIVE_WORDS[RedriveResult.REDRIVEN]
    ]
    return visit.done(_PAGE, counted, *left)
