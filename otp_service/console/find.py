"""Find: why codes of a number, or of a verification, did or did not arrive, with advice for the caller."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import quote

from otp_service.clock import now
from otp_service.console.accounts import Permission
from otp_service.console.requests import HANDLE_LIFE, Answer, ConsoleRequest, FormError, Views
from otp_service.domain.consents import EVERY_APPLICATION, SuppressionScope, SuppressionSource, active_suppressions
from otp_service.domain.keyring import user_of_factor
from otp_service.domain.numbers import SubjectKey
from otp_service.domain.phrases import Phrase
from otp_service.errors import LedgerUnavailableError
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
from otp_service.services.identifiers import find_factor, identify
from otp_service.services.number_history import (
    ExplainedVerification,
    NumberHistory,
    Why,
    find_number_history,
    find_pseudonym,
    find_verification,
)
from otp_service.services.subjects import freeze

views = Views()
NOTHING_COUNTED: Final = Phrase("Nothing was counted there.")
_UNKNOWN: Final = (
    "Nothing is known under this identifier. References of gateways are found for two days; a request that changed "
    "nothing is in the log alone."
)
_AT_MOST: Final = Phrase("{most} in {window}")
_NOT_FOUND: Final = 404
_WHY_KEPT_BACK: Final = {SuppressionScope.FROZEN: Why.FROZEN, SuppressionScope.ALL: Why.SUPPRESSED}


@views.view("GET /find", Permission.FIND, title="Find")
def show_find(visit: ConsoleRequest) -> Answer:
    return visit.page("find.html", region=visit.usual_region)


@views.view("POST /find", Permission.FIND)
def find(visit: ConsoleRequest) -> Answer:
    return visit.look_up("find")


@dataclass(frozen=True, slots=True)
class _Story:
    case: ExplainedVerification
    sentence: Phrase
    advice: Phrase | None
    """``None`` where the number itself is suppressed: the page then shows that advice above all."""


@views.view("GET /find/<handle>", Permission.FIND)
def show_number(visit: ConsoleRequest, handle: str) -> Answer:
    to = visit.number(handle)
    history = find_number_history(visit.context, to.destination, visit.signed_in.applications)
    standing = active_suppressions(visit.suppressions(to), now())
    kept_back = {entry.application for entry in standing}
    windows = visit.context.store.limits.windows(to.bucket, to.pseudonym, visit.applications)
    return visit.page(
        "number.html",
        to=to,
        handle=handle,
        is_whole=history.complete,
        has_ledger=history.from_ledger,
        standing=[(entry, ADVICE[_WHY_KEPT_BACK[entry.scope]]) for entry in standing],
        stories=[_story(case, history, kept_back) for case in history.verifications],
        refusals=list(destination_refusals(visit.context, to.destination, visit.applications)),
        windows=[
            (state, _AT_MOST.filled(most=state.limit.amount, window=timedelta(seconds=state.limit.seconds)))
            for state in windows
            if state.used
        ],
        applications=visit.choices,
    )


def _story(case: ExplainedVerification, history: NumberHistory, kept_back: set[str]) -> _Story:
    is_kept_back = not kept_back.isdisjoint({case.history.application, EVERY_APPLICATION})
    return _Story(case, sentence(case, history), None if is_kept_back else advice(case))


@views.view("POST /find/<handle>/unblock", Permission.UNBLOCK)
def unblock(visit: ConsoleRequest, handle: str) -> Answer:
    """Lift the number's waits and locks, in the applications that the user may see."""
    restriction = operator_actions.number_restriction(visit.context, visit.number(handle), visit.applications)
    done = operator_actions.unblock(visit.context, restriction, visit.operator)
    lifted = Phrase("Waits and locks are lifted. Rules count anew from here.")
    return visit.done(f"/find/{handle}", lifted if done else NOTHING_COUNTED)


@views.view("POST /find/<handle>/reset", Permission.UNBLOCK)
def reset(visit: ConsoleRequest, handle: str) -> Answer:
    """Reset the number's counts of messages, and of wrong codes in the applications that the user may see."""
    used = operator_actions.reset_limits(visit.context, visit.number(handle), visit.applications, visit.operator)
    return visit.done(f"/find/{handle}", Phrase("The limits are empty again.") if used else NOTHING_COUNTED)


@views.view("POST /find/<handle>/freeze", Permission.FREEZE)
def freeze_number(visit: ConsoleRequest, handle: str) -> Answer:
    return visit.done(f"/find/{handle}", freeze_of_form(visit, visit.number(handle)))


def freeze_of_form(visit: ConsoleRequest, number: SubjectKey) -> Phrase:
    application, reason = visit.typed_application(), visit.typed_reason()
    with visit.repeatable():
        freeze(visit.context, number, application, SuppressionSource.OPERATOR, reason, visit.operator)
    return Phrase("The number is frozen: nothing is sent, and no code is accepted.")


@views.view("POST /find/identifier", Permission.FIND)
def find_identifier(visit: ConsoleRequest) -> Answer:
    """Redirect to the page of an identifier, without the typed text in the address."""
    identified = identify(visit.context, visit.field("name"))
    histories = (find_verification(visit.context, identifier) for identifier in identified.verifications)
    named = [(case.history.id, case.history.application) for history in histories for case in history.verifications]
    named += ((decision.id, decision.application) for decision in identified.decisions)
    named += [(identified.factor.id, identified.factor.application)] if identified.factor else []
    seen = [name for name, application in named if visit.signed_in.sees(application)]
    if not seen and not identified.from_ledger:
        raise LedgerUnavailableError("What Redis has forgotten is in the ledger.")
    if not seen:
        raise FormError(_UNKNOWN, _NOT_FOUND)
    return visit.to(f"/decisions/{quote(seen[0], safe='')}")


@views.view("GET /decisions/<name>", Permission.FIND)
def show_decision(visit: ConsoleRequest, name: str) -> Answer:
    """Show a verification with its decisions, a decision, or an app; record the view of a person's data."""
    context, sees = visit.context, visit.signed_in.sees
    history, factor = find_verification(context, name), find_factor(context, name)
    cases = [case for case in history.verifications if sees(case.history.application)]
    decisions = [decision for decision in find_decisions(context, name) if sees(decision.application)]
    factor = factor if factor and sees(factor.application) else None
    verification_id = cases[0].history.id if cases else decisions[0].verification if decisions else ""
    pseudonym = user_of_factor(name) if factor else find_pseudonym(context, verification_id) if verification_id else ""
    if pseudonym:
        visit.record_number_view(pseudonym, "decision", verification_id or name, HANDLE_LIFE)
    currency = visit.settings.guard.currency
    return visit.page(
        "decision.html",
        200 if cases or decisions or factor else _NOT_FOUND,
        stories=[_story(case, history, set()) for case in cases],
        decisions=[(decision, title(decision), list(explain_rules(decision, currency))) for decision in decisions],
        factor=factor,
    )
