"""otp-service guard and limits: what the guard refused and why, and what is left of a number's limits."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command, parse_number, phone_number, region_option
from otp_service.domain.guard import GUARD_RULES
from otp_service.domain.guard_replay import Attempt, AttemptKind
from otp_service.domain.numbers import Destination, is_region
from otp_service.domain.phrases import Phrase, duration, moment
from otp_service.domain.prices import format_micros
from otp_service.errors import ConfigurationError, InvalidRequestError
from otp_service.services import explanations, guard_status, operator_actions, what_if
from otp_service.services.context import Context
from otp_service.services.explanations import ExplainedRule, explain_rules, find_decisions
from otp_service.services.guard_status import MAX_DECISIONS, ClosedCountry, RefusalCount
from otp_service.services.newcomer_traffic import PlaceReport, report_blocks, report_traffic, usual_approvals
from otp_service.services.operator_actions import BLOCK_RULE, COUNTRY_RULE, Restriction, reset_limits
from otp_service.services.what_if import Comparison, TriedRules, compare
from otp_service.settings import Settings
from otp_service.store.events import Decision
from otp_service.store.guard import WindowState


@click.group()
def guard() -> None:
    """Show, explain and try the rules against abuse."""


@command(guard, "List the rules.")
def rules(session: Session) -> None:
    """List the rules: what each refuses, what it does when it applies, and what it does when Redis cannot answer."""
    settings = session.settings
    rows = [
        (rule.id, _mode(settings, rule.id), rule.without_store.value, rule.sentence) for rule in GUARD_RULES.values()
    ]
    out.table("rules", ("Rule", "Mode", "Without Redis", "Refuses"), rows)


def _mode(settings: Settings, rule: str) -> out.Labelled:
    mode = settings.guard.mode(rule)
    return out.Labelled(mode, str(guard_status.MODES[mode]))


@command(guard, "Show what the rules do now.", applications=True)
@click.option("--hours", type=click.IntRange(1, 24 * 90), default=24, show_default=True, help="How far to look back.")
def status(session: Session, hours: int) -> None:
    """Show what the rules refused recently, what passed that nobody approved, what is closed, and how much is spent."""
    settings, context = session.settings, session.context
    now = context.store.decisions.now()
    since, traffic = now - hours * 3_600_000, list(report_traffic(context))
    kept = list(context.store.decisions.latest(MAX_DECISIONS))
    recent = [one for one in kept if one.at >= since]
    if len(recent) >= min(MAX_DECISIONS, settings.guard.decisions):
        oldest = moment(min(one.at for one in recent))
        out.note(str(guard_status.LIMITED.filled(most=f"{len(recent):,}", at=oldest)))
    _section(
        "refused",
        guard_status.REFUSED.filled(span=timedelta(hours=hours)),
        ("Rule", "Mode", "Application", "Country", "Times", "Last", "Decision"),
        list(map(_refused, guard_status.count_refusals(recent))),
    )
    _section(
        "changes",
        guard_status.CHANGED,
        ("At", "Rule", "Application", "Country", "Range", "What", "Until"),
        [*filter(None, map(_alarmed, traffic)), *map(_change, guard_status.last_changes(kept, since, now))],
    )
    passed = ("Application", "Country", "Range", "In the last", "Messages", "Usual", "Cost", "Currency", "Alarm since")
    _section("passed", guard_status.PASSED, passed, _passed(settings, traffic))
    busiest = ("Block", "Country", "Range", "Last hour", "Last day", "Usual a day", "Cost", "Currency")
    _section("blocks", guard_status.BUSIEST, busiest, _blocks(settings, context))
    closed = ("Application", "Country", "Mode", "Tried again in", "Times")
    places = _places(kept, COUNTRY_RULE) | {(one.application, one.country) for one in traffic}
    _section("closed", guard_status.CLOSED, closed, _closed(settings, context, kept, places))
    spent = ("Application", "Country", "In this", "Spent", "Ceiling", "Currency")
    _section("spent", guard_status.SPENT, spent, _spent(settings, context, kept))


def _section(name: str, title: Phrase, headings: Sequence[str], rows: Sequence[Sequence[out.Cell]]) -> None:
    out.note(f"{title}:" if rows else str(guard_status.NOTHING.filled(title=title)))
    if rows or out.in_json():
        out.table(name, headings, rows)


def _refused(one: RefusalCount) -> out.Row:
    mode = out.Labelled(one.mode, one.mode.replace("_", " "))
    return one.rule, mode, one.application, one.country, one.times, out.when(one.last.at), one.last.id


def _change(one: Decision) -> out.Row:
    return out.when(one.at), one.rule, one.application, one.country, None, one.mode, out.when(one.until or None)


def _alarmed(report: PlaceReport) -> out.Row | None:
    """Return the alarm of newcomers that stands at a place, if there is one."""
    if not report.alarmed_since:
        return None
    place = (report.application, report.country, report.number_prefix)
    return out.when(report.alarmed_since), "country.unknown_numbers", *place, f"alarm ({report.cause})", None


def _passed(settings: Settings, traffic: Iterable[PlaceReport]) -> list[out.Row]:
    return [
        (
            *(one.application, one.country, out.Labelled(one.number_prefix or None, one.number_prefix or "all")),
            *(passed.window, round(passed.messages), round(passed.usual)),
            *(format_micros(round(passed.money)), settings.guard.currency, _alarm(one)),
        )
        for one in traffic
        for passed in one.passed
    ]


def _blocks(settings: Settings, context: Context) -> list[out.Row]:
    return [
        (
            *(one.count.block, one.count.country, one.count.number_prefix),
            *(round(one.count.hour), round(one.count.day), round(one.usual)),
            *(format_micros(round(one.money)), settings.guard.currency),
        )
        for one in report_blocks(context)
    ]


def _alarm(one: PlaceReport) -> out.Cell:
    since = out.when(one.alarmed_since or None)
    return out.Labelled(since, f"{since:%Y-%m-%d %H:%M:%S} ({one.cause})") if since else None


def _closed(
    settings: Settings, context: Context, kept: Sequence[Decision], places: Iterable[guard_status.Place]
) -> list[out.Row]:
    """Return the countries that are closed, and how many blocks are, whose numbers nobody but Redis knows."""
    mode, block_mode = _mode(settings, COUNTRY_RULE), _mode(settings, BLOCK_RULE)
    rows: list[out.Row] = [
        (one.application, one.country, mode, _left(one), one.times)
        for one in guard_status.closed_countries(context, places)
    ]
    blocks = guard_status.closed_blocks(context, kept)
    if not out.in_json(closed_blocks=list(map(out.span, blocks))) and blocks:
        longest = guard_status.UP_TO.filled(span=timedelta(milliseconds=max(blocks)))
        rows.append(("all", out.count_of(len(blocks), "block"), block_mode, str(longest), None))
    return rows


def _places(kept: Iterable[Decision], rule: str = "") -> set[guard_status.Place]:
    """Return the places where rules spoke, or one of them did."""
    return {(one.application, one.country) for one in kept if rule in {"", one.rule}}


def _left(one: ClosedCountry) -> out.Cell:
    return out.span(one.left) if one.left else out.Labelled(0, str(guard_status.TRICKLE))


def _spent(settings: Settings, context: Context, kept: Iterable[Decision]) -> list[out.Row]:
    return [
        (
            *(one.application, out.Labelled(one.country or None, one.country or "all"), one.use.interval),
            *(format_micros(one.use.amount), format_micros(one.use.ceiling), settings.guard.currency),
        )
        for one in guard_status.spending(context, _places(kept))
    ]


@command(guard, "Explain a refusal.")
@click.argument("name", metavar="VERIFICATION-OR-DECISION")
def explain(session: Session, name: str) -> None:
    """Explain a refusal: what each rule found, and until when it lasts.

    By the identifier of the decision, which the API tells with a refusal (`decision`), or by that of a verification:
    then everything that rules said of it, also those that only record.
    """
    decisions = find_decisions(session.context, name)
    if not decisions:
        raise ConfigurationError(f"Nothing is known of {name}: no rule refused it, or that is no longer kept.")
    told = [(one, list(explain_rules(one, session.settings.guard.currency))) for one in decisions]
    if not out.in_json(decisions=[decision_members(decision, explained) for decision, explained in told]):
        for decision, explained in told:
            print_decision(decision, explained)


def decision_members(decision: Decision, explained: Iterable[ExplainedRule]) -> dict[str, Any]:
    """Return a decision as JSON has it."""
    times = {"at": out.when(decision.at), "until": out.when(decision.until or None)}
    hits = [
        {"rule": one.rule, "sentence": str(one.sentence), "details": list(map(str, one.details))} for one in explained
    ]
    return out.members(decision) | times | {"rule_hits": hits}


def print_decision(decision: Decision, explained: Iterable[ExplainedRule]) -> None:
    """Print what rules found."""
    click.secho(f"{out.moment(decision.at)}  {explanations.title(decision)}", bold=True)
    click.echo(f"  decision {decision.id}" + (f", verification {decision.verification}" * bool(decision.verification)))
    for one in explained:
        click.echo(out.wrap(f"  {one.rule}: {one.sentence}", 4))
        for line in one.details:
            click.echo(out.wrap(f"    {line}", 4))


@command(guard, "Lift a lock, or open what is closed.", asks=True, applications=True)
@click.option("--number", help="End the waits and locks of a number.")
@click.option("--block-of", help="Forget what was counted for the block of 10,000 numbers that a number is in.")
@click.option("--block", metavar="NAME", help="The same, by the block's name, which guard status tells.")
@click.option("--country", nargs=2, metavar="APPLICATION COUNTRY", help="Forget what was counted for a country.")
@click.option("--address", help="Forget what was counted for an end user's address.")
@region_option
def unblock(session: Session, region: str | None, **named: Any) -> None:  # noqa: ANN401 - click's
    """Lift a lock of a number, or forget what was counted for a block, a country or an address.

    Windows are another thing: otp-service limits reset empties those of a number.
    """
    if sum(map(bool, named.values())) != 1:
        raise click.UsageError("Name one, and only one, of --number, --block-of, --block, --country and --address.")
    name, restriction = _restriction(session, region, **named)
    session.confirm(f"Let through what rules keep from {name}?")
    if not operator_actions.unblock(session.context, restriction, session.operator):
        out.done("Nothing was counted.", reset=False)
        return
    out.done("Forgotten. Rules count anew from here.", reset=True)
    if named["number"]:
        out.note(f"Its windows of sends and guesses are another thing: {out.program()} limits reset NUMBER")


def _restriction(
    session: Session,
    region: str | None,
    *,
    number: str | None,
    block_of: str | None,
    block: str | None,
    country: tuple[str, str] | None,
    address: str | None,
) -> tuple[str, Restriction]:
    """Return the restriction to lift, and its name in the question."""
    context = session.context
    if number:
        to = parse_number(number, region)
        found = operator_actions.number_restriction(context, session.subject_key(to), context.applications)
        return f"{to.mask}, at all applications", found
    if block_of:
        to = parse_number(block_of, region)
        block = context.keyring.block_pseudonym(to.block)
        return f"the block of {to.mask}, at all applications", operator_actions.block_restriction(context, block)
    if block:
        return f"block {block}, at all applications", operator_actions.block_restriction(context, block)
    if country:
        application, code = session.application_or_all(country[0]), country[1].upper()
        if not is_region(code):
            raise click.UsageError(f"{code} is not the code of a country, such as PK.")
        return f"{code} at {application}", operator_actions.country_restriction(context, application, code)
    try:
        return "this address", operator_actions.address_restriction(context, address or "")
    except InvalidRequestError as malformed:
        raise click.UsageError("That is not an IP address.") from malformed


@command(guard, "Try other rules on what happened.", name="replay")
@click.option("--rules", "changed", type=out.FILE, help="Configuration with rules to try; default: the one in force.")
@click.option("--log", type=out.FILE, help="A log that was saved; default: the one in Redis.")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Save the log of Redis into a file.")
def replay_command(session: Session, changed: Path | None, log: Path | None, save: Path | None) -> None:
    """Run the recorded starts, resends and codes through rules, and show what would have been refused, and its cost.

    Nothing is sent, counted or changed. Rules begin with nothing counted, so that the first day tells less.
    """
    if log and save:
        raise click.UsageError("--save takes the log of Redis; leave --log out.")
    kept = _read(log) if log else _recorded_log(session.context)
    attempts = list(out.track("Attempts", kept))
    if save:
        save.write_text("".join(f"{json.dumps(asdict(one))}\n" for one in attempts), encoding="utf-8")
        out.done(f"Saved: {len(attempts)} attempts.", saved=len(attempts))
        return
    if not attempts:
        raise ConfigurationError("There is no log: nothing has happened yet.")
    tried = Session(changed or session.path, applications=True)
    rules = TriedRules.of(tried.context, tried.settings.guard)
    _show(compare(attempts, rules, None if log else usual_approvals(session.context)), tried.settings.guard.currency)


def _recorded_log(context: Context) -> Iterator[Attempt]:
    return context.store.attempts.all()


def _read(log: Path) -> Iterator[Attempt]:
    for number, line in enumerate(log.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            fields = json.loads(line)
            yield Attempt(**{**fields, "kind": AttemptKind(fields["kind"])}).checked()
        except (ValueError, TypeError, KeyError, RecursionError) as malformed:
            raise ConfigurationError(f"{log}: line {number} is no attempt of a log.") from malformed


def _show(found: Comparison, currency: str) -> None:
    before, after = found.before, found.after
    cost = out.Labelled("cost", str(what_if.COST.filled(currency=currency)))
    rows: list[out.Row] = [
        (str(what_if.MESSAGES), before.messages, after.messages),
        (cost, format_micros(before.cost), format_micros(after.cost)),
        (str(what_if.APPROVED), before.approved, after.approved),
        *(
            (str(what_if.REFUSED_BY.filled(rule=rule)), before.refused[rule], after.refused[rule])
            for rule in sorted(before.refused.keys() | after.refused.keys())
        ),
    ]
    out.table("compared", ("What", "As it went", "Under these rules"), rows)
    counts = ("people_refused", "never_started", "unknown")
    out.in_json(currency=currency, **{name: getattr(found, name) for name in counts})
    for one in what_if.notes(found):
        out.note(str(one))


@click.group()
def limits() -> None:
    """Show and reset the limits of a number."""


@command(limits, applications=True)
@phone_number
def show(session: Session, to: Destination) -> None:
    """Show how far the windows of NUMBER are used. Reading spends nothing."""
    context = session.context
    subject = session.subject_key(to)
    states = context.store.limits.windows(subject.bucket, subject.pseudonym, context.applications)
    out.in_json(to=to.mask)
    out.table("limits", ("Limit", "Application", "Used", "Left", "Resets in"), map(_row, states))


@command(limits, "Forget what was counted for a number.", asks=True, applications=True)
@phone_number
def reset(session: Session, to: Destination) -> None:
    """Forget what was counted for NUMBER: messages sent to it and wrong codes for it."""
    session.confirm(f"Allow new messages to {to.mask} and new guesses of its codes?")
    context = session.context
    used = reset_limits(context, session.subject_key(to), context.applications, session.operator)
    out.done(f"Forgotten for {to.mask}: {out.count_of(used, 'used window')}.", to=to.mask, windows=used)


def _row(state: WindowState) -> out.Row:
    limit = state.limit
    return (
        f"{limit.scope} {limit.amount} in {duration(limit.seconds)}",
        out.Labelled(state.application or None, state.application or "all"),
        state.used,
        state.remaining,
        out.span(1000 * round(state.reset_in)) if state.used else None,
    )
