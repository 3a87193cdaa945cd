"""Explain in words why a code did or did not arrive, what to tell the caller, and why a rule refused."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from otp_service.domain.guard import GUARD_RULES
from otp_service.domain.numbers import Destination
from otp_service.domain.phrases import Phrase, Value, enumerated, enumerated_to_the_last, moment
from otp_service.domain.prices import format_micros
from otp_service.domain.verification import Delivery, Status
from otp_service.errors import UnacceptableError
from otp_service.services.context import Context
from otp_service.services.number_history import ExplainedVerification, NumberHistory, Why
from otp_service.store.events import Decision, RuleHit

SENTENCES: Final[Mapping[Why, Phrase]] = {
    Why.DELIVERED: Phrase("The code arrived: {gateway} reported at {at} that the handset has it."),
    Why.CHECKED: Phrase("The code arrived: it was typed, and it was right."),
    Why.TAKEN: Phrase("{gateway} took the message at {at}, and has not reported yet what became of it."),
    Why.UNDELIVERED: Phrase("The code did not arrive: {gateway} reported {reported}."),
    Why.TOO_LATE_THERE: Phrase(
        "The code did not arrive: {gateway} reported that the message became too old on its way."
    ),
    Why.DESTINATION: Phrase("The code was not sent: {gateway} says that this number does not work ({reason})."),
    Why.REJECTED: Phrase(
        "The code was not sent: {gateway} refuses our account or our message ({reason}); tell the operator."
    ),
    Why.FRAUD: Phrase("The code was not sent: {gateway} suspects fraud ({reason})."),
    Why.CHANNEL: Phrase("The code was not sent: {gateway} does not reach this number through {channel} ({reason})."),
    Why.ALL_FAILED: Phrase("The code was not sent: {failures}."),
    Why.TRIED_AGAIN: Phrase("The code was not sent yet: {failures}; it will be tried again."),
    Why.NOBODY_KNOWS: Phrase(
        "Nobody knows whether the code arrived: {gateway} did not say that it sent it ({reason})."
    ),
    Why.IN_HAND: Phrase("The message is being handed to {gateway} at this moment."),
    Why.WAITS: Phrase("The message waits for a worker since {begun}."),
    Why.NO_WORKER: Phrase("The message waits: no worker was seen recently; tell the operator."),
    Why.BLOCKED: Phrase("The message waits: its gateways ({route}) cannot be used now (otp-service gateway status)."),
    Why.NO_ROUTE: Phrase(
        "The code was not sent: no gateway is configured that carries {channel} for {purpose} to {country}."
    ),
    Why.POLICY: Phrase("The code was not sent: a policy of this site kept it back ({reason})."),
    Why.SPENT: Phrase(
        "No further gateway was called: that would have passed a spending ceiling (otp-service guard status)."
    ),
    Why.SUPPRESSED: Phrase(
        "The code was not sent: this application may send the number no messages (otp-service suppressions show)."
    ),
    Why.FROZEN: Phrase(
        "The code was not sent: the number is frozen for this application, for fraud (otp-service suppressions show)."
    ),
    Why.NO_CONSENT: Phrase("The code was not sent: the consent to such messages was withdrawn meanwhile."),
    Why.TOO_LATE: Phrase(
        "The code was not sent: no worker delivered the message while the code lived; tell the operator."
    ),
    Why.ENDED_FIRST: Phrase("The code was not sent: the verification had ended before ({status})."),
    Why.UNREADABLE: Phrase(
        "The code was not sent: the message could not be read; its key or its application has left the "
        "configuration, or a newer release wrote it."
    ),
    Why.DEFECT: Phrase("The code was not sent: this service could not write the message; tell the operator."),
    Why.FORGOTTEN: Phrase("What became of the code is no longer known: the events do not reach back so far."),
}
_NEVER_REPORTED = Phrase("{gateway} took the message at {at}, and has never reported what became of it.")
_NOT_ASKED = Phrase("{gateway} took the message at {at}, and is not asked to report what becomes of it.")


def sentence(case: ExplainedVerification, number: NumberHistory) -> Phrase:
    """Return why the code of a verification did or did not arrive."""
    explanation, history = case.explanation, case.history
    why, delivery = explanation.why, explanation.delivery
    if why is Why.TAKEN and delivery and delivery.gateway not in number.reporting:
        phrase = _NOT_ASKED
    elif why is Why.TAKEN and history.status is not Status.PENDING:
        phrase = _NEVER_REPORTED
    else:
        phrase = SENTENCES[why]
    return phrase.filled(
        gateway=(delivery and delivery.gateway) or Phrase("a gateway"),
        channel=(delivery and delivery.channel) or Phrase("its channel"),
        reason=(delivery and delivery.reason) or Phrase("no reason given"),
        at=moment(delivery.at) if delivery else "",
        begun=moment(delivery.begun) if delivery else "",
        reported=_reported(delivery) if delivery else "",
        failures=_failures(explanation.failures),
        route=enumerated(list(case.route)) if case.route else "",
        purpose=history.purpose or Phrase("its purpose"),
        country=history.country or Phrase("its country"),
        status=history.status or Phrase("it is not known how"),
    )


def _reported(delivery: Delivery) -> Phrase:
    report = delivery.raw_status or delivery.status
    if delivery.reason:
        return Phrase('"{report}" ({reason})', {"report": report, "reason": delivery.reason})
    return Phrase('"{report}"', {"report": report})


def _failures(failures: tuple[Delivery, ...]) -> Value:
    """Name each way in which a gateway failed, once, with how often."""
    if not failures:
        return Phrase("no gateway was free to take the message while the code lived")
    once, repeated = Phrase("{gateway} failed ({reason})"), Phrase("{gateway} failed {count} times ({reason})")
    counted = Counter((call.gateway or "", call.reason or call.status) for call in failures)
    phrases = [
        (repeated if count > 1 else once).filled(gateway=gateway, count=count, reason=reason)
        for (gateway, reason), count in counted.items()
    ]
    return enumerated_to_the_last(phrases)


ADVICE: Final[Mapping[Why, Phrase]] = {
    Why.DELIVERED: Phrase(
        "Your phone has received the code: look through your messages, also in spam, or ask for a new one {when}."
    ),
    Why.CHECKED: Phrase("Your code arrived and was accepted; there is nothing more to do."),
    Why.TAKEN: Phrase("Make sure that your phone is on and has a signal, then ask for a new code {when}."),
    Why.UNDELIVERED: Phrase("Ask for a new code {when}; the last one could not be delivered."),
    Why.TOO_LATE_THERE: Phrase(
        "Switch your phone on where it has a signal, and ask for a new code {when}; the last one could not reach it."
    ),
    Why.DESTINATION: Phrase("Check the number that you gave; no message can be sent to it."),
    Why.REJECTED: Phrase("No code can be sent at the moment, which is our fault; please try again later."),
    Why.FRAUD: Phrase("No code can be sent to this number; please use another way to confirm that it is you."),
    Why.CHANNEL: Phrase(
        "Ask for a new code {when} in another way, such as a text message; this way did not reach you."
    ),
    Why.ALL_FAILED: Phrase("Ask for a new code {when}; the last one could not be sent."),
    Why.TRIED_AGAIN: Phrase("Please wait a minute; the code could not be sent at once, and is being tried again."),
    Why.NOBODY_KNOWS: Phrase("Ask for a new code {when} if the last one has not come."),
    Why.IN_HAND: Phrase("Please wait a minute; the code is being sent at this moment."),
    Why.WAITS: Phrase("Please wait a minute; the code will be sent in a moment."),
    Why.NO_WORKER: Phrase("The code has not been sent yet, which is our fault; please try again later."),
    Why.BLOCKED: Phrase("The code has not been sent yet because the network is disturbed; please try again later."),
    Why.NO_ROUTE: Phrase("We cannot send you a code in this way; please choose another way to get it."),
    Why.POLICY: Phrase("For your safety no code was sent; please use another way to confirm that it is you."),
    Why.SPENT: Phrase("No further code can be sent at the moment; please try again later."),
    Why.SUPPRESSED: Phrase("This number asked for no more messages; tell us if you want to receive them again."),
    Why.FROZEN: Phrase(
        "This number is locked for your protection; we have to be sure who you are before it is opened."
    ),
    Why.NO_CONSENT: Phrase("You withdrew your consent to these messages; agree again, then ask for a new code."),
    Why.TOO_LATE: Phrase("Ask for a new code {when}; the last one could not be sent in time."),
    Why.ENDED_FIRST: Phrase("Please begin again; what the code was for had ended before it was sent."),
    Why.UNREADABLE: Phrase("Ask for a new code {when}; the last one could not be sent, which is our fault."),
    Why.DEFECT: Phrase("The code could not be sent, which is our fault; please try again later."),
    Why.FORGOTTEN: Phrase("Ask for a new code; what became of the last one is no longer known."),
}
"""Advice for a caller, without a word of gateways."""
_MINUTE: Final = 60


def advice(case: ExplainedVerification) -> Phrase:
    why = Why.CHECKED if case.history.status is Status.APPROVED else case.explanation.why
    seconds = -(-case.again_in // 1000)
    if seconds <= 1:
        when = Phrase("now")
    elif seconds <= 2 * _MINUTE:
        when = Phrase("in {count} seconds", {"count": seconds})
    else:
        when = Phrase("in {count} minutes", {"count": -(-seconds // _MINUTE)})
    return ADVICE[why].filled(when=when)


@dataclass(frozen=True, slots=True)
class ExplainedRule:
    """A rule's part in a decision, in words."""

    rule: str
    sentence: Phrase
    """What the rule refuses."""
    details: tuple[Phrase, ...]
    """Its effect, counts and duration."""


def find_decisions(context: Context, name: str) -> tuple[Decision, ...]:
    """Return the decision with an identifier, or all decisions on a verification; empty for an unknown one."""
    bucket = context.keyring.bucket_of_id(name, retired=True)
    if bucket is not None:
        return context.store.decisions.of_verification(bucket, name)
    decision = context.store.decisions.find(name)
    return (decision,) if decision else ()


def destination_refusals(
    context: Context, to: Destination, applications: Iterable[str]
) -> Iterator[tuple[str, Phrase]]:
    """Yield the applications that refuse a number for its type, country or prefix, each with the reason."""
    for name in applications:
        try:
            context.destinations.check(context.applications[name], to)
        except UnacceptableError as refused:
            yield name, rule_sentence(refused.rule or "")


_KIND_AND_PLACE = {
    "known": Phrase("{kind} of {place}, from a known context"),
    "unknown": Phrase("{kind} of {place}, from no known context"),
    "": Phrase("{kind} of {place}"),
}
_SECOND: Final = 1000


def title(decision: Decision) -> Phrase:
    """Return the kind of a request, its application, purpose and country, and whether its context was known."""
    place = enumerated(list(filter(None, (decision.application, decision.purpose, decision.country))) or [""])
    return _KIND_AND_PLACE[decision.trust].filled(kind=decision.kind, place=place)


def explain_rules(decision: Decision, currency: str) -> Iterator[ExplainedRule]:
    """Yield the rules of a decision, the deciding rule first. Amounts of money are in ``currency``."""
    if not decision.rule_hits:
        yield ExplainedRule(decision.rule, rule_sentence(decision.rule), (_effect(decision.mode),))
    for hit in sorted(decision.rule_hits, key=lambda hit: hit.rule != decision.rule):
        wait = timedelta(milliseconds=hit.wait)
        lasts = (Phrase("For {span} from then.", {"span": wait}),) if hit.wait > _SECOND else ()
        yield ExplainedRule(hit.rule, rule_sentence(hit.rule), (_effect(hit.mode), *_counted(hit, currency), *lasts))


def rule_sentence(rule: str) -> Phrase:
    return Phrase(GUARD_RULES[rule].sentence) if rule in GUARD_RULES else Phrase("A rule of an earlier configuration.")


_EFFECTS = {
    "enforce": Phrase("It refused."),
    "record_only": Phrase("It only records: it would have refused."),
    "open": Phrase("Closed from here on."),
    "closed": Phrase("Open again."),
    "alarm": Phrase("An alarm was raised."),
    "lifted": Phrase("An operator lifted it (otp-service guard unblock)."),
}


def _effect(mode: str) -> Phrase:
    return _EFFECTS.get(mode, Phrase("{mode}", {"mode": mode}))


_SPENT = Phrase("Spent: {used} of {most} {currency}."), Phrase("Spent: {used} of {most} {currency} in {window}.")
_WRONG = Phrase("Wrong: {used} of {most} codes."), Phrase("Wrong: {used} of {most} codes in {window}.")
_CLOSED = Phrase("Closed {used} times in a row."), Phrase("Closed {used} times in a row in {window}.")
_CLOSED_ONCE = Phrase("Closed 1 time in a row."), Phrase("Closed 1 time in a row in {window}.")
_COUNTED = Phrase("Counted: {used} of {most}."), Phrase("Counted: {used} of {most} in {window}.")
_IN_A_ROW = Phrase("In a row: {used}."), Phrase("In a row: {used} in {window}.")
"""Counts without and with their window."""


def _counted(hit: RuleHit, currency: str) -> tuple[Phrase, ...]:
    used, max_used = _short(hit.used), _short(hit.most)
    if hit.rule.partition(".")[0] == "spend":
        texts, used, max_used = _SPENT, format_micros(round(hit.used)), format_micros(round(hit.most))
    elif hit.rule == "application.failures":
        texts = _WRONG
    elif hit.rule.endswith(".conversion") and not hit.most:
        texts = _CLOSED_ONCE if hit.used == 1 else _CLOSED
    elif hit.most:
        texts = _COUNTED
    elif hit.used:
        texts = _IN_A_ROW
    else:
        return ()
    window = timedelta(seconds=hit.window // _SECOND)
    return (texts[bool(hit.window)].filled(used=used, most=max_used, currency=currency, window=window),)


def _short(amount: float) -> str:
    """Return a count with at most two decimal places; only leaking counts have them."""
    return f"{amount:.2f}".rstrip("0").rstrip(".")
