"""otp-service guard and limits: decisions of the guard, and the limits of a number."""

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
from otp_service.services.guard_status import MAX_DECISIONS, RefusalCount
from otp_service.services.newcomer_traffic import PlaceReport, report_blocks, report_traffic, usual_approvals
from otp_service.services.operator_actions import BLOCK_RULE, COUNTRY_RULE, Restriction, reset_limits
from otp_service.services.what_if import TriedRules, compare
from otp_service.settings import Settings
from otp_service.store.events import Decision
from otp_service.store.guard import WindowState


@click.group()
def guard() -> None:
    """Show, explain and try the rules against abuse."""


@command(guard, "List the rules.")
def rules(session: Session) -> None:
    """List the rules: what each refuses, its mode, and its behaviour while Redis is unavailable."""
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
    """Show recent refusals, unapproved messages, closed countries and blocks, and spending."""
    settings, context = session.settings, session.context
    now = context.store.decisions.now()
    since, traffic = now - hours * 3_600_000, list(report_traffic(context))
    latest = list(context.store.decisions.latest(MAX_DECISIONS))
    recent = [decision for decision in latest if decision.at >= since]
    if len(recent) >= min(MAX_DECISIONS, settings.guard.decisions):
        oldest = moment(min(decision.at for decision in recent))
        out.note(str(guard_status.LIMITED.filled(most=f"{len(recent):,}", at=oldest)))
    headings: Sequence[str] = ("Rule", "Mode", "Application", "Country", "Times", "Last", "Decision")
    refused = list(map(_refused, guard_status.count_refusals(recent)))
    _section("refused", guard_status.REFUSED.filled(span=timedelta(hours=hours)), headings, refused)
    headings = ("At", "Rule", "Application", "Country", "Range", "What", "Until")
    alarms = [_alarm(report) for report in traffic if report.alarmed_since]
    changes = map(_change, guard_status.last_changes(latest, since, now))
    _section("changes", guard_status.CHANGED, headings, [*alarms, *changes])
    _show_traffic(context, traffic, settings.guard.currency)
    headings = ("Application", "Country", "Mode", "Tried again in", "Times")
    places = {(decision.application, decision.country) for decision in latest if decision.rule == COUNTRY_RULE}
    places |= {(report.application, report.country) for report in traffic}
    _section("closed", guard_status.CLOSED, headings, _closed(settings, context, latest, places))
    headings = ("Application", "Country", "In this", "Spent", "Ceiling", "Currency")
    rows: list[out.Row] = []
    for spent in guard_status.spending(context, {(decision.application, decision.country) for decision in latest}):
        country, use = out.Labelled(spent.country or None, spent.country or "all"), spent.use
        amounts = (format_micros(use.amount), format_micros(use.ceiling), settings.guard.currency)
        rows.append((spent.application, country, use.interval, *amounts))
    _section("spent", guard_status.SPENT, headings, rows)


def _show_traffic(context: Context, traffic: Iterable[PlaceReport], currency: str) -> None:
    """Show the unapproved messages to first-time numbers, by place and by block."""
    headings: Sequence[str] = ("Application", "Country", "Range", "In the last", "Messages", "Usual", "Cost")
    passed: list[out.Row] = []
    for report in traffic:
        since, prefix = out.when(report.alarmed_since or None), report.number_prefix
        alarm = out.Labelled(since, f"{since:%Y-%m-%d %H:%M:%S} ({report.cause})") if since else None
        place = (report.application, report.country, out.Labelled(prefix or None, prefix or "all"))
        for past in report.passed:
            counts = (past.window, round(past.messages), round(past.usual))
            passed.append((*place, *counts, format_micros(round(past.money)), currency, alarm))
    _section("passed", guard_status.PASSED, (*headings, "Currency", "Alarm since"), passed)
    headings = ("Block", "Country", "Range", "Last hour", "Last day", "Usual a day", "Cost", "Currency")
    blocks: list[out.Row] = []
    for block in report_blocks(context):
        count = block.count
        messages = (round(count.hour), round(count.day), round(block.usual))
        cost = format_micros(round(block.money))
        blocks.append((count.block, count.country, count.number_prefix, *messages, cost, currency))
    _section("blocks", guard_status.BUSIEST, headings, blocks)


def _section(name: str, title: Phrase, headings: Sequence[str], rows: Sequence[Sequence[out.Cell]]) -> None:
    out.note(f"{title}:" if rows else str(guard_status.NOTHING.filled(title=title)))
    if rows or out.in_json():
        out.table(name, headings, rows)


def _refused(count: RefusalCount) -> out.Row:
    mode = out.Labelled(count.mode, count.mode.replace("_", " "))
    return count.rule, mode, count.application, count.country, count.times, out.when(count.last.at), count.last.id


def _change(decision: Decision) -> out.Row:
    place, until = (decision.application, decision.country, None), out.when(decision.until or None)
    return out.when(decision.at), decision.rule, *place, decision.mode, until


def _alarm(report: PlaceReport) -> out.Row:
    place = (report.application, report.country, report.number_prefix)
    return out.when(report.alarmed_since), "country.unknown_numbers", *place, f"alarm ({report.cause})", None


def _closed(
    settings: Settings, context: Context, latest: Sequence[Decision], places: Iterable[guard_status.Place]
) -> list[out.Row]:
    """Return the closed countries, and the number of closed blocks, which have no readable names."""
    mode, block_mode = _mode(settings, COUNTRY_RULE), _mode(settings, BLOCK_RULE)
    trickle = out.Labelled(0, str(guard_status.TRICKLE))
    rows: list[out.Row] = [
        (closed.application, closed.country, mode, out.span(closed.left) if closed.left else trickle, closed.times)
        for closed in guard_status.closed_countries(context, places)
    ]
    blocks = guard_status.closed_blocks(context, latest)
    if not out.in_json(closed_blocks=list(map(out.span, blocks))) and blocks:
        longest = guard_status.UP_TO.filled(span=timedelta(milliseconds=max(blocks)))
        rows.append(("all", out.count_of(len(blocks), "block"), block_mode, str(longest), None))
    return rows


@command(guard, "Explain a refusal.")
@click.argument("name", metavar="VERIFICATION-OR-DECISION")
def explain(session: Session, name: str) -> None:
    """Explain a refusal: the finding of each rule, and the end of the refusal.

    Takes the identifier of a decision, which is the `decision` in the API's answer, or of a verification, to show all
    decisions about it, also of rules that only record.
    """
    decisions = find_decisions(session.context, name)
    if not decisions:
        raise ConfigurationError(f"No decision found for {name}: not refused, or expired.")
    currency = session.settings.guard.currency
    explained = [(decision, list(explain_rules(decision, currency))) for decision in decisions]
    if not out.in_json(decisions=[decision_members(decision, rules) for decision, rules in explained]):
        for decision, rules in explained:
            print_decision(decision, rules)


def decision_members(decision: Decision, explained: Iterable[ExplainedRule]) -> dict[str, Any]:
    """Return the members of a decision for JSON."""
    times = {"at": out.when(decision.at), "until": out.when(decision.until or None)}
    hits = [
        {"rule": rule.rule, "sentence": str(rule.sentence), "details": list(map(str, rule.details))}
        for rule in explained
    ]
    return out.members(decision) | times | {"rule_hits": hits}


def print_decision(decision: Decision, explained: Iterable[ExplainedRule]) -> None:
    click.secho(f"{out.moment(decision.at)}  {explanations.title(decision)}", bold=True)
    click.echo(f"  decision {decision.id}" + (f", verification {decision.verification}" * bool(decision.verification)))
    for rule in explained:
        click.echo(out.wrap(f"  {rule.rule}: {rule.sentence}", 4))
        for line in rule.details:
            click.echo(out.wrap(f"    {line}", 4))


@command(guard, "Lift a lock, or reset counters.", asks=True, applications=True)
@click.option("--number", help="End the waits and locks of a number.")
@click.option("--block-of", help="Reset the counters of the block of 10,000 numbers that contains a number.")
@click.option("--block", metavar="NAME", help="The same, by the block's name in guard status.")
@click.option("--country", nargs=2, metavar="APPLICATION COUNTRY", help="Reset the counters of a country.")
@click.option("--address", help="Reset the counters of an end user's address.")
@region_option
def unblock(session: Session, region: str | None, **named: Any) -> None:  # noqa: ANN401 - click's
    """Lift the lock of a number, or reset the counters of a block, a country or an address.

    To reset the limits of a number, use otp-service limits reset.
    """
    if sum(map(bool, named.values())) != 1:
        raise click.UsageError("Use exactly one of --number, --block-of, --block, --country and --address.")
    name, restriction = _restriction(session, region, **named)
    session.confirm(f"Lift the restrictions of {name}?")
    if not operator_actions.unblock(session.context, restriction, session.operator):
        out.done("Nothing to lift: the counters are empty.", reset=False)
        return
    out.done("Lifted. The counters start from zero.", reset=True)
    if named["number"]:
        out.note(f"Its limits of sends and checks remain. To reset them: {out.program()} limits reset NUMBER")


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
    """Return the name of the restricted subject for the confirmation, and the restriction."""
    context = session.context
    if number:
        to = parse_number(number, region)
        restriction = operator_actions.number_restriction(context, session.subject_key(to), context.applications)
        return f"{to.mask}, at all applications", restriction
    if block_of:
        to = parse_number(block_of, region)
        block = context.keyring.block_pseudonym(to.block)
        return f"the block of {to.mask}, at all applications", operator_actions.block_restriction(context, block)
    if block:
        return f"block {block}, at all applications", operator_actions.block_restriction(context, block)
    if country:
        application, code = session.application_or_all(country[0]), country[1].upper()
        if not is_region(code):
            raise click.UsageError(f"{code} is not a country code such as PK.")
        return f"{code} at {application}", operator_actions.country_restriction(context, application, code)
    try:
        return "this address", operator_actions.address_restriction(context, address or "")
    except InvalidRequestError as malformed:
        raise click.UsageError("--address is not an IP address.") from malformed


@command(guard, "Try other rules on recorded traffic.", name="replay")
@click.option("--rules", "changed", type=out.FILE, help="Configuration with the rules to try; default: the current.")
@click.option("--log", type=out.FILE, help="Saved log; default: the log in Redis.")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Save the log in Redis to a file.")
def replay_command(session: Session, changed: Path | None, log: Path | None, save: Path | None) -> None:
    """Apply rules to the recorded starts, resends and checks, and show refusals and costs.

    Nothing is sent, counted or changed. Counters start at zero, so the first day shows too few refusals.
    """
    if log and save:
        raise click.UsageError("--save saves the log in Redis; it cannot be used with --log.")
    recorded = _read(log) if log else session.context.store.attempts.all()
    attempts = list(out.track("Attempts", recorded))
    if save:
        save.write_text("".join(f"{json.dumps(asdict(attempt))}\n" for attempt in attempts), encoding="utf-8")
        out.done(f"Saved: {len(attempts)} attempts.", saved=len(attempts))
        return
    if not attempts:
        raise ConfigurationError("The log is empty: no attempts are recorded.")
    tried = Session(changed or session.path, applications=True)
    rules = TriedRules.of(tried.context, tried.settings.guard)
    comparison = compare(attempts, rules, None if log else usual_approvals(session.context))
    before, after, currency = comparison.before, comparison.after, tried.settings.guard.currency
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
    out.table("compared", ("Figure", "Recorded", "With these rules"), rows)
    counts = ("people_refused", "never_started", "unknown")
    out.in_json(currency=currency, **{name: getattr(comparison, name) for name in counts})
    for note in what_if.notes(comparison):
        out.note(str(note))


def _read(log: Path) -> Iterator[Attempt]:
    for number, line in enumerate(log.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            fields = json.loads(line)
            yield Attempt(**{**fields, "kind": AttemptKind(fields["kind"])}).checked()
        except (ValueError, TypeError, KeyError, RecursionError) as malformed:
            raise ConfigurationError(f"{log}: line {number} is not a recorded attempt.") from malformed


@click.group()
def limits() -> None:
    """Show and reset the limits of a number."""


@command(limits, applications=True)
@phone_number
def show(session: Session, to: Destination) -> None:
    """Show the limits of NUMBER and their use. Showing them counts nothing."""
    context = session.context
    subject = session.subject_key(to)
    states = context.store.limits.windows(subject.bucket, subject.pseudonym, context.applications)
    out.in_json(to=to.mask)
    out.table("limits", ("Limit", "Application", "Used", "Left", "Resets in"), map(_row, states))


@command(limits, "Reset the limits of a number.", asks=True, applications=True)
@phone_number
def reset(session: Session, to: Destination) -> None:
    """Reset the limits of NUMBER: messages sent to it and wrong codes for it."""
    session.confirm(f"Reset the limits of messages and wrong codes of {to.mask}?")
    context = session.context
    used = reset_limits(context, session.subject_key(to), context.applications, session.operator)
    out.done(f"Reset for {to.mask}: {out.count_of(used, 'used window')}.", to=to.mask, windows=used)


def _row(state: WindowState) -> out.Row:
    limit = f"{state.limit.scope} {state.limit.amount} in {duration(state.limit.seconds)}"
    application = out.Labelled(state.application or None, state.application or "all")
    resets_in = out.span(1000 * round(state.reset_in)) if state.used else None
    return limit, application, state.used, state.remaining, resets_in
