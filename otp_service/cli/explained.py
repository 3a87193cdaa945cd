"""Decisions of the guard in words."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from otp_service.cli.output import duration
from otp_service.core.guard.pricing import shown
from otp_service.core.guard.rules import RULES
from otp_service.services.context import Context
from otp_service.store.decisions import Decision, Finding

_SECOND = 1000


@dataclass(frozen=True, slots=True)
class Explained:
    """What one rule found, in words."""

    rule: str
    sentence: str
    details: tuple[str, ...]


def found_by(context: Context, name: str) -> tuple[Decision, ...]:
    """Return the decision of an identifier, or all that were made on a verification; none when nothing is kept."""
    bucket = context.keyring.bucket_of_id(name)
    if bucket is not None:
        return context.store.decisions.of_verification(bucket, name)
    decision = context.store.decisions.find(name)
    return (decision,) if decision else ()


def explain_rule(decision: Decision, currency: str) -> Iterator[Explained]:
    """Yield what the rules found, the one that decided first. Amounts of money are in ``currency``."""
    if not decision.findings:
        yield Explained(decision.rule, _sentence(decision.rule), (_of_mode(decision.mode),))
    for one in sorted(decision.findings, key=lambda one: one.rule != decision.rule):
        lasts = f"For {duration(-(-one.wait // _SECOND))} from then." if one.wait > _SECOND else ""
        details = (_of_mode(one.mode), *_counts(one, currency), *([lasts] if lasts else []))
        yield Explained(one.rule, _sentence(one.rule), details)


def _sentence(rule: str) -> str:
    return RULES[rule].sentence if rule in RULES else "A rule of an earlier configuration."


def _of_mode(mode: str) -> str:
    return {
        "enforce": "It refused.",
        "record_only": "It only records: it would have refused.",
        "open": "Closed from here on.",
        "closed": "Open again.",
        "alarm": "An alarm was raised.",
    }.get(mode, mode)


def _counts(one: Finding, currency: str) -> tuple[str, ...]:
    used, most = math.ceil(round(one.used, 2)), math.floor(one.most)
    scope = one.rule.partition(".")[0]
    if scope == "spend":
        amount = f"Spent: {shown(round(one.used))} of {shown(round(one.most))} {currency}"
    elif one.rule == "application.failures":
        amount = f"Wrong: {used} of {most} codes"
    elif one.rule.endswith(".conversion") and not most:
        amount = f"Closed {used} time{'s' * (used != 1)} in a row"
    elif most:
        amount = f"Counted: {used} of {most}"
    elif used:
        amount = f"In a row: {used}"
    else:
        return ()
    return (f"{amount}{_within(one.window)}.",)


def _within(window: int) -> str:
    return f" in {duration(window // _SECOND)}" if window else ""
