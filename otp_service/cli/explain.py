"""``otp-service guard explain``: decisions of the guard in words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from otp_service.cli.context import context_of
from otp_service.cli.output import duration, in_json, members, moment, reading, when, wrapped
from otp_service.domain.guard import RULES, shown
from otp_service.errors import ConfigurationError
from otp_service.services.context import Context
from otp_service.settings import load_settings
from otp_service.store.events import Decision, Finding

_SECOND = 1000
_LANES = {"known": ", from a known context", "strange": ", from no known context", "": ""}


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
        "lifted": "Somebody lifted it (otp-service guard unblock).",
    }.get(mode, mode)


def _counts(one: Finding, currency: str) -> tuple[str, ...]:
    used, most = _plain(one.used), _plain(one.most)
    scope = one.rule.partition(".")[0]
    if scope == "spend":
        amount = f"Spent: {shown(round(one.used))} of {shown(round(one.most))} {currency}"
    elif one.rule == "application.failures":
        amount = f"Wrong: {used} of {most} codes"
    elif one.rule.endswith(".conversion") and not one.most:
        amount = f"Closed {used} time{'s' * (one.used != 1)} in a row"
    elif one.most:
        amount = f"Counted: {used} of {most}"
    elif one.used:
        amount = f"In a row: {used}"
    else:
        return ()
    return (f"{amount}{_within(one.window)}.",)


def _plain(amount: float) -> str:
    """Return a count as people read it; of what leaks away, two digits of the rest."""
    return f"{amount:.2f}".rstrip("0").rstrip(".")


def _within(window: int) -> str:
    return f" in {duration(window // _SECOND)}" if window else ""


@click.command(short_help="Explain a refusal.")
@click.argument("name", metavar="VERIFICATION-OR-DECISION")
@reading
def explain(name: str, path: Path | None) -> None:
    """Explain a refusal: what each rule found, and until when it lasts.

    By the identifier of the decision, which the API tells with a refusal (`decision`), or by that of a verification:
    then everything that rules said of it, also those that only record.
    """
    settings = load_settings(path)
    context = context_of(settings)
    decisions = found_by(context, name)
    if not decisions:
        raise ConfigurationError(f"Nothing is known of {name}: no rule refused it, or that is no longer kept.")
    told = [(one, list(explain_rule(one, settings.guard.currency))) for one in decisions]
    if not in_json(decisions=[_decision(decision, findings) for decision, findings in told]):
        for decision, findings in told:
            _print(decision, findings)


def _decision(decision: Decision, findings: Iterable[Explained]) -> dict[str, Any]:
    times = {"at": when(decision.at), "until": when(decision.until or None)}
    return members(decision) | times | {"findings": list(map(members, findings))}


def _print(decision: Decision, findings: Iterable[Explained]) -> None:
    place = ", ".join(filter(None, (decision.application, decision.purpose, decision.country)))
    click.secho(f"{moment(decision.at)}  {decision.kind} of {place}{_LANES[decision.lane]}", bold=True)
    click.echo(f"  decision {decision.id}" + (f", verification {decision.verification}" * bool(decision.verification)))
    for one in findings:
        click.echo(wrapped(f"  {one.rule}: {one.sentence}", 4))
        for line in one.details:
            click.echo(wrapped(f"    {line}", 4))
