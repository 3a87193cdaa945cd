"""otp-service guard and limits: what the guard refused and why, and what is left of a number's limits."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command, parse_number, phone_number, region_option
from otp_service.cli.ledger import warn_of_caution
from otp_service.domain.guard import GUARD_RULES, Mode
from otp_service.domain.guard_replay import Attempt, AttemptKind, Replay
from otp_service.domain.numbers import Destination, is_region
from otp_service.domain.prices import ANY_COUNTRY, format_micros
from otp_service.errors import ConfigurationError, InvalidRequestError
from otp_service.services import operator_actions
from otp_service.services.context import Context
from otp_service.services.newcomer_traffic import PlaceReport, report_blocks, report_traffic, usual_approvals
from otp_service.services.operator_actions import BLOCK_RULE, COUNTRY_RULE, Restriction, reset_limits
from otp_service.settings import Settings
from otp_service.store.events import LIFTED, Decision, RuleHit
from otp_service.store.guard import CountryBreaker, WindowState
from otp_service.store.store import Store

MAX_DECISIONS = 100_000
"""Decisions that are looked at for the status."""
_MODES = {Mode.ENFORCE: "enforce", Mode.RECORD_ONLY: "record only", Mode.OFF: "off"}


@click.group()
def guard() -> None:
    """Show, explain and try the rules against abuse."""


@command(guard, "List the rules.", reads=True)
def rules(session: Session) -> None:
    """List the rules: what each refuses, what it does when it applies, and what it does when Redis cannot answer."""
    settings = session.settings
    rows = [
        (rule.id, _mode(settings, rule.id), rule.without_store.value, rule.sentence) for rule in GUARD_RULES.values()
    ]
    out.table("rules", ("Rule", "Mode", "Without Redis", "Refuses"), rows)


def _mode(settings: Settings, rule: str) -> out.Labelled:
    mode = settings.guard.mode(rule)
    return out.Labelled(mode, _MODES[mode])


@command(guard, "Show what the rules do now.", reads=True, applications=True)
@click.option("--hours", type=click.IntRange(1, 24 * 90), default=24, show_default=True, help="How far to look back.")
def status(session: Session, hours: int) -> None:
    """Show what the rules refused lately, what passed that nobody approved, what is closed, and how much is spent."""
    settings, context = session.settings, session.context
    warn_of_caution(context)
    since = context.store.decisions.now() - hours * 3_600_000
    kept = list(context.store.decisions.latest(MAX_DECISIONS))
    recent = [one for one in kept if one.at >= since]
    if len(recent) >= min(MAX_DECISIONS, settings.guard.decisions):
        oldest = min(one.at for one in recent)
        most = f"No more than {len(recent):,} decisions are kept or looked at (guard.decisions)"
        out.note(f"{most}, since {out.moment(oldest)}.")
    _section(
        "refused",
        f"Refused in the last {out.duration(3600 * hours)}, or would have been",
        ("Rule", "Mode", "Application", "Country", "Times", "Last", "Decision"),
        _counted(one for one in recent if one.kind != "change"),
    )
    _section(
        "changes",
        "Breakers and alarms",
        ("At", "Rule", "Application", "Country", "What", "Until"),
        [_change(one) for one in _changes(recent)],
    )
    passed = ("Application", "Country", "Range", "In the last", "Messages", "Usual", "Cost", "Currency", "Alarm since")
    _section("passed", "Passed unapproved to newcomers, about", passed, _passed(settings, context))
    busiest = ("Block", "Country", "Range", "Last hour", "Last day", "Usual a day", "Cost", "Currency")
    _section("blocks", "Blocks of 10,000 numbers that most passed to unapproved", busiest, _blocks(settings, context))
    closed = ("Application", "Country", "Mode", "Tried again in", "Times")
    _section("closed", "Closed now", closed, _closed(settings, context, kept))
    spent = ("Application", "Country", "In this", "Spent", "Ceiling", "Currency")
    _section("spent", "Spent", spent, _spent(settings, context, kept))


def _section(name: str, title: str, headings: Sequence[str], rows: Sequence[Sequence[out.Cell]]) -> None:
    out.note(f"{title}:" if rows else f"{title}: nothing.")
    if rows or out.in_json():
        out.table(name, headings, rows)


def _counted(decisions: Iterable[Decision]) -> list[out.Row]:
    last: dict[out.Row, Decision] = {}
    times: Counter[out.Row] = Counter()
    for one in decisions:
        name = (one.rule, out.Labelled(one.mode, one.mode.replace("_", " ")), one.application, one.country)
        times[name] += 1
        last[name] = max(last.get(name, one), one, key=lambda each: each.at)
    return [(*name, count, out.when(last[name].at), last[name].id) for name, count in times.most_common()]


def _changes(decisions: Iterable[Decision]) -> list[Decision]:
    """Return the last twenty changes, the newest first."""
    changes = [one for one in decisions if one.kind == "change"]
    return sorted(changes, key=lambda one: one.at, reverse=True)[:20]


def _change(one: Decision) -> out.Row:
    return out.when(one.at), one.rule, one.application, one.country, one.mode, out.when(one.until or None)


def _passed(settings: Settings, context: Context) -> list[out.Row]:
    return [
        (
            *(one.application, one.country, out.Labelled(one.carrier_range or None, one.carrier_range or "all")),
            *(passed.window, round(passed.messages), round(passed.usual)),
            *(format_micros(round(passed.money)), settings.guard.currency, _alarm(one)),
        )
        for one in report_traffic(context)
        for passed in one.passed
    ]


def _blocks(settings: Settings, context: Context) -> list[out.Row]:
    return [
        (
            *(one.count.block, one.count.country, one.count.carrier_range),
            *(round(one.count.hour), round(one.count.day), round(one.usual)),
            *(format_micros(round(one.money)), settings.guard.currency),
        )
        for one in report_blocks(context)
    ]


def _alarm(one: PlaceReport) -> out.Cell:
    since = out.when(one.alarmed_since or None)
    return out.Labelled(since, f"{since:%Y-%m-%d %H:%M:%S} ({one.cause})") if since else None


def _closed(settings: Settings, context: Context, kept: Iterable[Decision]) -> list[out.Row]:
    """Return the countries that are closed, and how many blocks are, whose numbers nobody but Redis knows."""
    now, decisions = context.store.decisions.now(), list(kept)
    places = sorted({(one.application, one.country) for one in decisions if one.rule == COUNTRY_RULE})
    stops = ((application, country, context.store.guard.stop(application, country)) for application, country in places)
    mode, block_mode = _mode(settings, COUNTRY_RULE), _mode(settings, BLOCK_RULE)
    rows: list[out.Row] = [(name, country, mode, _left(stop, now), stop.times) for name, country, stop in stops if stop]
    blocks = _closed_blocks(decisions, now)
    if not out.in_json(closed_blocks=list(map(out.span, blocks))) and blocks:
        rows.append(
            ("all", out.count_of(len(blocks), "block"), block_mode, f"up to {out.time_left(max(blocks))}", None)
        )
    return rows


def _closed_blocks(decisions: Iterable[Decision], now: int) -> list[int]:
    """Return how long blocks are closed yet; of those that were lifted since nobody knows which they were."""
    changes = sorted((one for one in decisions if one.rule == BLOCK_RULE), key=lambda one: one.at)
    closed: list[int] = []
    for one in changes:
        if one.mode == "open" and one.until > now:
            closed.append(one.until - now)
        elif one.mode == LIFTED and closed:
            closed.pop()
    return closed


def _left(stop: CountryBreaker, now: int) -> out.Cell:
    return out.span(stop.ends - now) if stop.ends > now else out.Labelled(0, "now, a trickle")


def _spent(settings: Settings, context: Context, kept: Iterable[Decision]) -> list[out.Row]:
    """Return how far the ceilings are used, those of countries where rules spoke or that have one of their own."""
    seen, currency = {(one.application, one.country) for one in kept}, settings.guard.currency
    rows: list[out.Row] = []
    for name, loaded in context.rulesets.items():
        named = {country for country in loaded.ruleset.ceilings_of_countries if country != ANY_COUNTRY}
        countries = named | {country for application, country in seen if application == name and country}
        for country in ("", *sorted(countries)):
            spent = context.store.guard.spent(loaded.ruleset, name, country)
            place = (name, out.Labelled(country or None, country or "all"))
            rows += [
                (*place, one.interval, format_micros(one.amount), format_micros(one.ceiling), currency) for one in spent
            ]
    return rows


_SECOND = 1000
_TRUST_PHRASES = {"known": ", from a known context", "unknown": ", from no known context", "": ""}


@dataclass(frozen=True, slots=True)
class ExplainedRule:
    """What one rule found, in words."""

    rule: str
    sentence: str
    details: tuple[str, ...]


def find_decisions(context: Context, name: str) -> tuple[Decision, ...]:
    """Return the decision of an identifier, or all that were made on a verification; none when nothing is kept."""
    bucket = context.keyring.bucket_of_id(name)
    if bucket is not None:
        return context.store.decisions.of_verification(bucket, name)
    decision = context.store.decisions.find(name)
    return (decision,) if decision else ()


def explain_rule(decision: Decision, currency: str) -> Iterator[ExplainedRule]:
    """Yield what the rules found, the one that decided first. Amounts of money are in ``currency``."""
    if not decision.rule_hits:
        yield ExplainedRule(decision.rule, _sentence(decision.rule), (_of_mode(decision.mode),))
    for one in sorted(decision.rule_hits, key=lambda one: one.rule != decision.rule):
        lasts = f"For {out.time_left(one.wait)} from then." if one.wait > _SECOND else ""
        details = (_of_mode(one.mode), *_counts(one, currency), *([lasts] if lasts else []))
        yield ExplainedRule(one.rule, _sentence(one.rule), details)


def _sentence(rule: str) -> str:
    return GUARD_RULES[rule].sentence if rule in GUARD_RULES else "A rule of an earlier configuration."


def _of_mode(mode: str) -> str:
    return {
        "enforce": "It refused.",
        "record_only": "It only records: it would have refused.",
        "open": "Closed from here on.",
        "closed": "Open again.",
        "alarm": "An alarm was raised.",
        "lifted": "Somebody lifted it (otp-service guard unblock).",
    }.get(mode, mode)


def _counts(one: RuleHit, currency: str) -> tuple[str, ...]:
    used, most = _plain(one.used), _plain(one.most)
    scope = one.rule.partition(".")[0]
    if scope == "spend":
        amount = f"Spent: {format_micros(round(one.used))} of {format_micros(round(one.most))} {currency}"
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
    return f" in {out.duration(window // _SECOND)}" if window else ""


@command(guard, "Explain a refusal.", reads=True)
@click.argument("name", metavar="VERIFICATION-OR-DECISION")
def explain(session: Session, name: str) -> None:
    """Explain a refusal: what each rule found, and until when it lasts.

    By the identifier of the decision, which the API tells with a refusal (`decision`), or by that of a verification:
    then everything that rules said of it, also those that only record.
    """
    decisions = find_decisions(session.context, name)
    if not decisions:
        raise ConfigurationError(f"Nothing is known of {name}: no rule refused it, or that is no longer kept.")
    told = [(one, list(explain_rule(one, session.settings.guard.currency))) for one in decisions]
    if not out.in_json(decisions=[_decision(decision, explained) for decision, explained in told]):
        for decision, explained in told:
            _print(decision, explained)


def _decision(decision: Decision, explained: Iterable[ExplainedRule]) -> dict[str, Any]:
    times = {"at": out.when(decision.at), "until": out.when(decision.until or None)}
    return out.members(decision) | times | {"rule_hits": list(map(out.members, explained))}


def _print(decision: Decision, explained: Iterable[ExplainedRule]) -> None:
    place = ", ".join(filter(None, (decision.application, decision.purpose, decision.country)))
    click.secho(f"{out.moment(decision.at)}  {decision.kind} of {place}{_TRUST_PHRASES[decision.trust]}", bold=True)
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
        out.done("Nothing was counted.")
        return
    out.done("Forgotten. Rules count anew from here.")
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
        return f"{to.mask}, at all applications", operator_actions.number_restriction(context, session.subject_key(to))
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


_COUNTRY = "destination.country"


@command(guard, "Try other rules on what happened.", name="replay", reads=True)
@click.option("--rules", "changed", type=out.FILE, help="Configuration with rules to try; default: the one in force.")
@click.option("--log", type=out.FILE, help="A log that was saved; default: the one in Redis.")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Save the log of Redis into a file.")
def replay_command(session: Session, changed: Path | None, log: Path | None, save: Path | None) -> None:
    """Run the recorded starts, resends and codes through rules, and show what would have been refused, and its cost.

    Nothing is sent, counted or changed. Rules begin with nothing counted, so that the first day tells less.
    """
    if log and save:
        raise click.UsageError("--save takes the log of Redis; leave --log out.")
    kept = _read(log) if log else _recorded_log(session.context.store)
    attempts = list(out.track("Attempts", kept))
    if save:
        save.write_text("".join(f"{json.dumps(asdict(one))}\n" for one in attempts), encoding="utf-8")
        out.in_json(saved=len(attempts))
        out.done(f"Saved: {len(attempts)} attempts.")
        return
    if not attempts:
        raise ConfigurationError("There is no log: nothing has happened yet.")
    tried = Session(changed or session.path, applications=True)
    settings, applications = tried.settings, tried.context.applications
    rulesets = {name: one.ruleset for name, one in tried.context.rulesets.items()}
    if settings.guard.mode(_COUNTRY) is not Mode.ENFORCE:
        applications = {name: replace(one, countries=None) for name, one in applications.items()}
    replay = Replay(rulesets, applications, None if log else usual_approvals(session.context))
    for attempt in attempts:
        replay.judge(attempt)
    _show(replay, settings.guard.currency)


def _recorded_log(store: Store) -> Iterator[Attempt]:
    """Return the log of Redis; say that it has an hour of other limits, where a fence tells so."""
    if fence := store.fences.current():
        halved = f"from {out.moment(fence.at)} to {out.moment(fence.until)} UTC"
        out.note(f"The store was fenced: limits on messages were halved {halved}; here they are not.")
    return store.attempts.all()


def _read(log: Path) -> Iterator[Attempt]:
    for number, line in enumerate(log.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            fields = json.loads(line)
            yield Attempt(**{**fields, "kind": AttemptKind(fields["kind"])}).checked()
        except (ValueError, TypeError, KeyError, RecursionError) as malformed:
            raise ConfigurationError(f"{log}: line {number} is no attempt of a log.") from malformed


def _show(found: Replay, currency: str) -> None:
    before, after = found.before, found.after
    rows: list[out.Row] = [
        ("messages", before.messages, after.messages),
        (out.Labelled("cost", f"cost at most, {currency}"), format_micros(before.cost), format_micros(after.cost)),
        ("approved", before.approved, after.approved),
        *(
            (f"refused by {rule}", before.refused[rule], after.refused[rule])
            for rule in sorted(before.refused.keys() | after.refused.keys())
        ),
    ]
    out.table("compared", ("What", "As it went", "Under these rules"), rows)
    counts = ("people_refused", "never_started", "unknown")
    out.in_json(currency=currency, **{name: getattr(found, name) for name in counts})
    if any(after.refused[rule] > before.refused[rule] for rule in after.refused if rule.startswith("spend.")):
        unsettled = "Ceilings refuse more here than they did: nothing is settled in a replay."
        out.note(f"{unsettled} Leave them out: spend.* = off.")
    out.note(f"People who were approved and would have been refused: {found.people_refused}.")
    if found.never_started:
        out.note(f"Resends and codes of verifications that would not have started: {found.never_started}.")
    if found.unknown:
        out.note(f"Not tried, because they began before the log or belong to no application: {found.unknown}.")


@click.group()
def limits() -> None:
    """Show and reset the limits of a number."""


@command(limits, reads=True, applications=True)
@phone_number
def show(session: Session, to: Destination) -> None:
    """Show how far the windows of NUMBER are used. Reading spends nothing."""
    context = session.context
    warn_of_caution(context)
    subject = session.subject_key(to)
    states = context.store.limits.windows(subject.bucket, subject.pseudonym, context.applications)
    out.in_json(to=to.mask)
    out.table("limits", ("Limit", "Application", "Used", "Left", "Resets in"), map(_row, states))


@command(limits, "Forget what was counted for a number.", asks=True, applications=True)
@phone_number
def reset(session: Session, to: Destination) -> None:
    """Forget what was counted for NUMBER: messages sent to it and wrong codes for it."""
    session.confirm(f"Allow new messages to {to.mask} and new guesses of its codes?")
    used = reset_limits(session.context, session.subject_key(to), session.operator)
    out.done(f"Forgotten for {to.mask}: {out.count_of(used, 'used window')}.")


def _row(state: WindowState) -> out.Row:
    limit = state.limit
    return (
        f"{limit.scope} {limit.amount} in {out.duration(limit.seconds)}",
        out.Labelled(state.application or None, state.application or "all"),
        state.used,
        state.remaining,
        out.span(1000 * round(state.reset_in)) if state.used else None,
    )
