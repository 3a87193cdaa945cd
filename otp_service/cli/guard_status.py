"""``otp-service guard rules`` and ``status``: what the rules against abuse are, and what they refuse."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from otp_service.cli.context import informed_context
from otp_service.cli.output import Cell, Shown, counted, duration, in_json, moment, note, reading, span, table, when
from otp_service.cli.store import warn_of_caution
from otp_service.domain.guard import ANY, RULES, Mode, shown
from otp_service.services.context import Context
from otp_service.services.operator_actions import BLOCK, COUNTRY
from otp_service.settings import Settings, load_settings
from otp_service.store.events import LIFTED, Decision
from otp_service.store.guard import Stop

MOST = 100_000
"""Decisions that are looked at for the status."""
_MODES = {Mode.ENFORCE: "enforce", Mode.RECORD_ONLY: "record only", Mode.OFF: "off"}


@click.command(short_help="List the rules.")
@reading
def rules(path: Path | None) -> None:
    """List the rules: what each refuses, what it does when it applies, and what it does when Redis cannot answer."""
    settings = load_settings(path)
    rows = [(rule.id, _mode(settings, rule.id), rule.without_store.value, rule.sentence) for rule in RULES.values()]
    table("rules", ("Rule", "Mode", "Without Redis", "Refuses"), rows)


def _mode(settings: Settings, rule: str) -> Shown:
    mode = settings.guard.mode(rule)
    return Shown(mode, _MODES[mode])


@click.command(short_help="Show what the rules do now.")
@click.option("--hours", type=click.IntRange(1, 24 * 90), default=24, show_default=True, help="How far to look back.")
@reading
def status(hours: int, path: Path | None) -> None:
    """Show what the rules refused lately, which countries are closed, and how far the ceilings are used."""
    settings = load_settings(path)
    context = informed_context(settings)
    warn_of_caution(context)
    since = context.store.decisions.now() - hours * 3_600_000
    kept = list(context.store.decisions.latest(MOST))
    recent = [one for one in kept if one.at >= since]
    if len(recent) >= min(MOST, settings.guard.decisions):
        oldest = min(one.at for one in recent)
        note(f"No more than {len(recent):,} decisions are kept or looked at (guard.decisions), since {moment(oldest)}.")
    _section(
        "refused",
        f"Refused in the last {duration(3600 * hours)}, or would have been",
        ("Rule", "Mode", "Application", "Country", "Times", "Last", "Decision"),
        _counted(one for one in recent if one.kind != "change"),
    )
    _section(
        "changes",
        "Breakers and alarms",
        ("At", "Rule", "Application", "Country", "What", "Until"),
        [_change(one) for one in _changes(recent)],
    )
    closed = ("Application", "Country", "Mode", "Tried again in", "Times")
    _section("closed", "Closed now", closed, _closed(settings, context, kept))
    spent = ("Application", "Country", "In this", "Spent", "Ceiling", "Currency")
    _section("spent", "Spent", spent, _spent(settings, context, kept))


def _section(name: str, title: str, headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    note(f"{title}:" if rows else f"{title}: nothing.")
    if rows or in_json():
        table(name, headings, rows)


def _counted(decisions: Iterable[Decision]) -> list[tuple[Cell, ...]]:
    last: dict[tuple[Cell, ...], Decision] = {}
    times: Counter[tuple[Cell, ...]] = Counter()
    for one in decisions:
        name = (one.rule, Shown(one.mode, one.mode.replace("_", " ")), one.application, one.country)
        times[name] += 1
        last[name] = max(last.get(name, one), one, key=lambda each: each.at)
    return [(*name, count, when(last[name].at), last[name].id) for name, count in times.most_common()]


def _changes(decisions: Iterable[Decision]) -> list[Decision]:
    """Return the last twenty changes, the newest first."""
    changes = [one for one in decisions if one.kind == "change"]
    return sorted(changes, key=lambda one: one.at, reverse=True)[:20]


def _change(one: Decision) -> tuple[Cell, ...]:
    return when(one.at), one.rule, one.application, one.country, one.mode, when(one.until or None)


def _closed(settings: Settings, context: Context, kept: Iterable[Decision]) -> list[tuple[Cell, ...]]:
    """Return the countries that are closed, and how many blocks are, whose numbers nobody but Redis knows."""
    now, decisions = context.store.decisions.now(), list(kept)
    places = sorted({(one.application, one.country) for one in decisions if one.rule == COUNTRY})
    stops = ((application, country, context.store.guard.stop(application, country)) for application, country in places)
    mode, block_mode = _mode(settings, COUNTRY), _mode(settings, BLOCK)
    rows: list[tuple[Cell, ...]] = [
        (name, country, mode, _left(stop, now), stop.times) for name, country, stop in stops if stop
    ]
    blocks = _closed_blocks(decisions, now)
    if not in_json(closed_blocks=list(map(span, blocks))) and blocks:
        rows.append(("all", counted(len(blocks), "block"), block_mode, f"up to {_span(max(blocks))}", None))
    return rows


def _closed_blocks(decisions: Iterable[Decision], now: int) -> list[int]:
    """Return how long blocks are closed yet; of those that were lifted since nobody knows which they were."""
    changes = sorted((one for one in decisions if one.rule == BLOCK), key=lambda one: one.at)
    closed: list[int] = []
    for one in changes:
        if one.mode == "open" and one.until > now:
            closed.append(one.until - now)
        elif one.mode == LIFTED and closed:
            closed.pop()
    return closed


def _span(milliseconds: int) -> str:
    return duration(-(-milliseconds // 1000))


def _left(stop: Stop, now: int) -> Cell:
    return span(stop.ends - now) if stop.ends > now else Shown(0, "now, a trickle")


def _spent(settings: Settings, context: Context, kept: Iterable[Decision]) -> list[tuple[Cell, ...]]:
    """Return how far the ceilings are used, those of countries where rules spoke or that have one of their own."""
    seen, currency = {(one.application, one.country) for one in kept}, settings.guard.currency
    rows: list[tuple[Cell, ...]] = []
    for name, loaded in context.rulesets.items():
        named = {country for country in loaded.ruleset.ceilings_of_countries if country != ANY}
        countries = named | {country for application, country in seen if application == name and country}
        for country in ("", *sorted(countries)):
            spent = context.store.guard.spent(loaded.ruleset, name, country)
            place = (name, Shown(country or None, country or "all"))
            rows += [(*place, one.interval, shown(one.amount), shown(one.ceiling), currency) for one in spent]
    return rows
