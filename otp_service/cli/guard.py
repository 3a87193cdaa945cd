"""``otp-service guard``: what the rules against abuse refuse, why, and what other rules would have done."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from otp_service.cli.context import context_of
from otp_service.cli.explained import Explained, explain_rule, found_by
from otp_service.cli.options import config_option, destination, region_option
from otp_service.cli.output import done, duration, moment, note, table, wrapped
from otp_service.core.address import network_of, wide_network_of
from otp_service.core.errors import ConfigurationError, InvalidRequestError
from otp_service.core.guard.pricing import ANY, shown
from otp_service.core.guard.rules import RULES, Mode
from otp_service.services.context import Context
from otp_service.settings import Settings, load_settings
from otp_service.store.decisions import Decision
from otp_service.store.guard import Stop

MOST = 100_000
"""Decisions that are looked at for the status."""
_COUNTRY, _BLOCK = "country.conversion", "block.conversion"
_LANES = {"known": ", from a known context", "strange": ", from a stranger", "": ""}
_MODES = {Mode.ENFORCE: "enforce", Mode.RECORD_ONLY: "record only", Mode.OFF: "off"}


@click.group()
def guard() -> None:
    """Show, explain and try the rules against abuse."""


@guard.command(short_help="List the rules.")
@config_option
def rules(path: Path | None) -> None:
    """List the rules: what each refuses, what it does when it applies, and what it does when Redis cannot answer."""
    settings = load_settings(path)
    rows = [
        (rule.id, _MODES[settings.guard.mode(rule.id)], rule.without_store.value, rule.sentence)
        for rule in RULES.values()
    ]
    table(("Rule", "Mode", "Without Redis", "What it refuses"), rows)


@guard.command(short_help="Show what the rules do now.")
@click.option("--hours", type=click.IntRange(1, 24 * 90), default=24, show_default=True, help="How far to look back.")
@config_option
def status(hours: int, path: Path | None) -> None:
    """Show what the rules refused lately, which countries are closed, and how far the ceilings are used."""
    settings = load_settings(path)
    context = context_of(settings)
    since = context.store.decisions.now() - hours * 3_600_000
    kept = list(context.store.decisions.latest(MOST))
    recent = [one for one in kept if one.at >= since]
    _section(
        f"Refused in the last {duration(3600 * hours)}, and what would have been",
        ("Rule", "Mode", "Application", "Country", "Times", "Last"),
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
    last: dict[tuple[str, ...], int] = {}
    times: Counter[tuple[str, ...]] = Counter()
    for one in decisions:
        name = (one.rule, one.mode.replace("_", " "), one.application, one.country or "-")
        times[name] += 1
        last[name] = max(last.get(name, 0), one.at)
    return [(*name, str(count), moment(last[name])) for name, count in times.most_common()]


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
    places = sorted({(one.application, one.country) for one in decisions if one.rule == _COUNTRY})
    stops = ((application, country, context.store.guard.stop(application, country)) for application, country in places)
    mode, block_mode = (_MODES[settings.guard.mode(rule)] for rule in (_COUNTRY, _BLOCK))
    rows: list[tuple[str, ...]] = [
        (name, country, mode, _left(stop, now), str(stop.times)) for name, country, stop in stops if stop
    ]
    blocks = [one.until for one in decisions if one.rule == _BLOCK and one.mode == "open"]
    closed = [until - now for until in blocks if until > now]
    if closed:
        rows.append(("all", f"{len(closed)} blocks", block_mode, f"up to {_span(max(closed))}", "-"))
    return rows


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


@guard.command(short_help="Explain a refusal.")
@click.argument("name", metavar="VERIFICATION-OR-DECISION")
@config_option
def explain(name: str, path: Path | None) -> None:
    """Explain a refusal: what each rule found, and until when it lasts.

    By the identifier of the decision, which the API tells with a refusal (`decision`), or by that of a verification:
    then everything that rules said of it, also those that only record.
    """
    settings = load_settings(path)
    context = context_of(settings)
    decisions = found_by(context, name)
    if not decisions:
        raise ConfigurationError(f"Nothing is known of {name}: no rule spoke, or it is no longer kept.")
    for decision in decisions:
        about = f"{decision.kind} of {decision.application}{_LANES[decision.lane]}"
        click.secho(f"{moment(decision.at)}  {about}", bold=True)
        click.echo(
            f"  decision {decision.id}" + (f", verification {decision.verification}" * bool(decision.verification))
        )
        for one in explain_rule(decision, settings.guard.currency):
            _print(one)


def _print(one: Explained) -> None:
    click.echo(wrapped(f"  {one.rule}: {one.sentence}", 4))
    for line in one.details:
        click.echo(wrapped(f"    {line}", 4))


@guard.command(short_help="Lift a lock, or open what is closed.")
@click.option("--number", help="End the waits and locks of a number, and forget its guesses.")
@click.option("--block-of", help="Forget what was counted for the block of 10,000 numbers that a number is in.")
@click.option("--country", nargs=2, metavar="APPLICATION COUNTRY", help="Forget what was counted for a country.")
@click.option("--address", help="Forget what was counted for an end user's address.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@region_option
@config_option
def unblock(
    number: str | None,
    block_of: str | None,
    country: tuple[str, str] | None,
    address: str | None,
    region: str | None,
    path: Path | None,
    *,
    yes: bool,
) -> None:
    """Lift a lock of a number, or forget what was counted for a block, a country or an address.

    Windows are another thing: otp-service limits reset empties those of a number.
    """
    if sum(map(bool, (number, block_of, country, address))) != 1:
        raise click.UsageError("Name one of --number, --block-of, --country and --address.")
    context = context_of(load_settings(path))
    if not yes:
        click.confirm("Let messages through that rules keep back?", abort=True)
    forgotten = _forget(context, number, block_of, country, address, region)
    done("Nothing was counted." if not forgotten else "Forgotten. Rules count anew from here.")


def _forget(
    context: Context,
    number: str | None,
    block_of: str | None,
    country: tuple[str, str] | None,
    address: str | None,
    region: str | None,
) -> int:
    keyring, store = context.keyring, context.store.guard
    if number:
        pseudonym = keyring.pseudonym(destination(number, region).e164)
        return store.forget_number(keyring.bucket(pseudonym), pseudonym, context.applications)
    if block_of:
        return store.forget_block(keyring.block_pseudonym(destination(block_of, region).block))
    if country:
        return store.forget_country(country[0], country[1].upper())
    network = _network(address or "")
    wide = wide_network_of(network)
    return store.forget_network(keyring.network_pseudonym(network), keyring.network_pseudonym(wide) if wide else None)


def _network(address: str) -> str:
    try:
        return network_of(address)
    except InvalidRequestError as malformed:
        raise click.UsageError("That is not an IP address.") from malformed
