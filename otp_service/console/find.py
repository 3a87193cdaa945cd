"""Find: what became of a number's codes, or of one verification; why; and what to tell whoever asks."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import quote

from otp_service.clock import now
from otp_service.console.visits import HANDLE_LIFE, Answer, Views, Visit
from otp_service.domain.consents import (
    EVERY_APPLICATION,
    SuppressionScope,
    SuppressionSource,
    standing_suppressions,
)
from otp_service.domain.console_users import Permission
from otp_service.domain.numbers import SubjectKey
from otp_service.domain.phrases import Phrase
from otp_service.services import operator_actions
from otp_service.services.explanations import (
    ADVICE,
    advice,
    destination_refusals,
    explain_rules,
    find_decisions,
    sentence,
    title,
)
from otp_service.services.number_history import (
    ExplainedVerification,
    NumberHistory,
    Why,
    find_number_history,
    find_pseudonym,
)
from otp_service.services.subjects import freeze
from otp_service.store.guard import WindowState

views = Views()
NOTHING_COUNTED: Final = Phrase("Nothing was counted there.")
_AT_MOST: Final = Phrase("{most} in {window}")
_NOT_FOUND: Final = 404
_WHY_KEPT_BACK: Final = {SuppressionScope.FROZEN: Why.FROZEN, SuppressionScope.ALL: Why.SUPPRESSED}


@views.view("GET /find", Permission.FIND, title="Find")
def show_find(visit: Visit) -> Answer:
    """Ask for a number."""
    return visit.page("find.html", region=visit.usual_region)


@views.view("POST /find", Permission.FIND)
def find(visit: Visit) -> Answer:
    """Look a number up; that is recorded before anything is shown."""
    return visit.look_up("find")


@dataclass(frozen=True, slots=True)
class _Story:
    """A verification, in words."""

    case: ExplainedVerification
    sentence: Phrase
    advice: Phrase | None
    """``None`` where the number itself is what keeps codes back: then one advice stands above all."""


@views.view("GET /find/<handle>", Permission.FIND)
def show_number(visit: Visit, handle: str) -> Answer:
    """Show a number's last verifications, why each code did or did not arrive, and its limits."""
    to = visit.number(handle)
    history = find_number_history(visit.context, to.destination, visit.signed_in.applications)
    standing = standing_suppressions(visit.suppressions(to), now())
    kept_back = {one.application for one in standing}
    return visit.page(
        "number.html",
        to=to,
        handle=handle,
        is_whole=history.complete,
        has_ledger=history.from_ledger,
        standing=[(one, ADVICE[_WHY_KEPT_BACK[one.scope]]) for one in standing],
        stories=[_story(one, history, kept_back) for one in history.verifications],
        refusals=list(destination_refusals(visit.context, to.destination, visit.applications)),
        windows=_windows(visit, to),
        applications=visit.choices,
    )


def _story(one: ExplainedVerification, history: NumberHistory, kept_back: set[str]) -> _Story:
    is_kept_back = not kept_back.isdisjoint({one.history.application, EVERY_APPLICATION})
    return _Story(one, sentence(one, history), None if is_kept_back else advice(one))


def _windows(visit: Visit, to: SubjectKey) -> list[tuple[WindowState, Phrase]]:
    states = visit.context.store.limits.windows(to.bucket, to.pseudonym, visit.applications)
    return [
        (one, _AT_MOST.filled(most=one.limit.amount, window=timedelta(seconds=one.limit.seconds)))
        for one in states
        if one.used
    ]


@views.view("POST /find/<handle>/unblock", Permission.UNBLOCK)
def unblock(visit: Visit, handle: str) -> Answer:
    """Lift the number's waits and locks, at the applications that the user may see."""
    found = operator_actions.number_restriction(visit.context, visit.number(handle), visit.applications)
    done = operator_actions.unblock(visit.context, found, visit.operator)
    lifted = Phrase("Waits and locks are lifted. Rules count anew from here.")
    return visit.done(f"/find/{handle}", lifted if done else NOTHING_COUNTED)


@views.view("POST /find/<handle>/reset", Permission.UNBLOCK)
def reset(visit: Visit, handle: str) -> Answer:
    """Forget what was counted for the number: messages, and wrong codes at the applications that the user may see."""
    used = operator_actions.reset_limits(visit.context, visit.number(handle), visit.applications, visit.operator)
    return visit.done(f"/find/{handle}", Phrase("The limits are empty again.") if used else NOTHING_COUNTED)


@views.view("POST /find/<handle>/freeze", Permission.FREEZE)
def freeze_number(visit: Visit, handle: str) -> Answer:
    """Stop everything for the number: fraud was reported."""
    return visit.done(f"/find/{handle}", freeze_of_form(visit, visit.number(handle)))


def freeze_of_form(visit: Visit, number: SubjectKey) -> Phrase:
    """Freeze a number as the form says; return what was done."""
    application, reason = visit.typed_application(), visit.typed_reason()
    with visit.repeatable():
        freeze(visit.context, number, application, SuppressionSource.OPERATOR, reason, visit.operator)
    return Phrase("The number is frozen: nothing is sent, and no code is accepted.")


@views.view("POST /decisions", Permission.FIND)
def find_decision(visit: Visit) -> Answer:
    """Lead to a decision, or to those on a verification."""
    return visit.to(f"/decisions/{quote(visit.field('name'), safe='')}")


@views.view("GET /decisions/<name>", Permission.FIND)
def show_decision(visit: Visit, name: str) -> Answer:
    """Explain what rules found, and until when it lasts; of a verification that is a look at its person."""
    decisions = [one for one in find_decisions(visit.context, name) if visit.signed_in.sees(one.application)]
    verification = decisions[0].verification if decisions else ""
    if verification and (pseudonym := find_pseudonym(visit.context, verification)):
        visit.record_look(pseudonym, "decision", verification, HANDLE_LIFE)
    currency = visit.settings.guard.currency
    explained = [(one, title(one), list(explain_rules(one, currency))) for one in decisions]
    return visit.page("decision.html", 200 if decisions else _NOT_FOUND, decisions=explained)
