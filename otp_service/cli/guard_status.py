"""``otp-service guard rules`` and ``status``: what the rules against abuse are, and what they refuse."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from otp_service.cli.context import informed_context
from otp_service.cli.options import config_option
from otp_service.cli.output import duration, moment, note, table
from otp_service.cli.store import warn_of_caution
from otp_service.core.guard.pricing import ANY, shown
from otp_service.core.guard.rules import RULES, Mode
from otp_service.services.by_hand import BLOCK, COUNTRY
from otp_service.services.context import Context
from otp_service.settings import Settings, load_settings
from otp_service.store.decisions import LIFTED, Decision
from otp_service.store.guard import Stop

MOST = 100_000
"""Decisions that are looked at for the status."""
_MODES = {Mode.ENFORCE: "enforce", Mode.RECORD_ONLY: "record only", Mode.OFF: "off"}


@click.command(short_help="List the rules.")
@config_option
def rules(path: Path | None) -> None:
    """List the rules: what each refuses, what it does when it applies, and what it does when Redis cannot answer."""
    settings = load_settings(path)
    rows = [
        (rule.id, _MODES[settings.guard.mode(rule.id)], rule.without_store.value, rule.sentence)
        for rule in RULES.values()
    ]
    table(("Rule", "Mode", "Without Redis", "What it refuses"), rows)


@click.command(short_help="Show what the rules do now.")
@click.option("--hours", type=click.IntRange(1, 24 * 90), default=24, show_default=True, help="How far to look back.")
@config_option
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
        f"Refused in the last {duration(3600 * hours)}, and what would have been",
        ("Rule", "Mode", "Application", "Country", "Times", "Last", "Decision"),
        _counted(one for one in recent if one.kind != "change"),
    )
    _section(
        "Breakers and alarms",
        ("At", "Rule", "Application", "Country", "What", "Until"),
        [_change(one) for one in _changes(recent)],
    )
    _section(
        "Closed now", ("Application", "Country", "Mode", "Tried again in", "Times"), _closed(settings, context, kept)
    )
    spent = ("Application", "Country", "In this", f"Spent ({settings.guard.currency})", "Ceiling")
    _section("Spent", spent, _spent(context, kept))


def _section(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    note(f"{title}:" if rows else f"{title}: nothing.")
    if rows:
        table(headings, rows)


def _counted(decisions: Iterable[Decision]) -> list[tuple[str, ...]]:
    last: dict[tuple[str, ...], Decision] = {}
    times: Counter[tuple[str, ...]] = Counter()
    for one in decisions:
        name = (one.rule, one.mode.replace("_", " "), one.application, one.country or "-")
        times[name] += 1
        last[name] = max(last.get(name, one), one, key=lambda each: each.at)
    return [(*name, str(count), moment(last[name].at), last[name].id) for name, count in times.most_common()]


def _changes(decisions: Iterable[Decision]) -> list[Decision]:
    """Return the last twenty changes, the newest first."""
    changes = [one for one in decisions if one.kind == "change"]
    return sorted(changes, key=lambda one: one.at, reverse=True)[:20]


def _change(one: Decision) -> tuple[str, ...]:
    until = moment(one.until) if one.until else "-"
    return (moment(one.at), one.rule, one.application, one.country or "-", one.mode, until)


def _closed(settings: Settings, context: Context, kept: Iterable[Decision]) -> list[tuple[str, ...]]:
    """Return the countries that are closed, and how many blocks are, whose numbers nobody but Redis knows."""
    now, decisions = context.store.decisions.now(), list(kept)
    places = sorted({(one.application, one.country) for one in decisions if one.rule == COUNTRY})
    stops = ((application, country, context.store.guard.stop(application, country)) for application, country in places)
    mode, block_mode = (_MODES[settings.guard.mode(rule)] for rule in (COUNTRY, BLOCK))
    rows: list[tuple[str, ...]] = [
        (name, country, mode, _left(stop, now), str(stop.times)) for name, country, stop in stops if stop
    ]
    if closed := _closed_blocks(decisions, now):
        rows.append(
            ("all", f"{len(closed)} block{'s' * (len(closed) != 1)}", block_mode, f"up to {_span(max(closed))}", "-")
        )
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


def _left(stop: Stop, now: int) -> str:
    return _span(stop.ends - now) if stop.ends > now else "now, a trickle"


def _spent(context: Context, kept: Iterable[Decision]) -> list[tuple[str, ...]]:
    """Return how far the ceilings are used, those of countries where rules spoke or that have one of their own."""
    seen = {(one.application, one.country) for one in kept}
    rows: list[tuple[str, ...]] = []
    for name, loaded in context.rulesets.items():
        named = {country for country in loaded.ruleset.ceilings_of_countries if country != ANY}
        countries = named | {country for application, country in seen if application == name and country}
        for country in ("", *sorted(countries)):
            spent = context.store.guard.spent(loaded.ruleset, name, country)
            rows += [(name, country or "all", one.interval, shown(one.amount), shown(one.ceiling)) for one in spent]
    return rows
