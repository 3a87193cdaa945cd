"""``otp-service guard replay``: the attempts of the past under other rules."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import click

from otp_service.cli.context import context_of, informed_context
from otp_service.cli.output import Cell, Shown, done, in_json, moment, note, reading, table, tracked
from otp_service.domain.guard import Mode, shown
from otp_service.domain.guard_model import Attempt, Kind, Replayed, replay
from otp_service.errors import ConfigurationError
from otp_service.settings import load_settings
from otp_service.store.store import Store

_COUNTRY = "destination.country"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(name="replay", short_help="Try other rules on what happened.")
@click.option("--rules", "changed", type=_FILE, help="Configuration with the rules to try; default: the one in force.")
@click.option("--log", type=_FILE, help="A log that was saved; default: the one in Redis.")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Save the log of Redis into a file.")
@reading
def replay_command(changed: Path | None, log: Path | None, save: Path | None, path: Path | None) -> None:
    """Run the recorded starts, resends and codes through rules, and show what would have been refused, and its cost.

    Nothing is sent, counted or changed. Rules begin with nothing counted, so that the first day tells less. What was
    refused then and would pass now counts as never approved: nobody could type that code in.
    """
    if log and save:
        raise click.UsageError("--save takes the log of Redis; leave --log out.")
    kept = _read(log) if log else _kept(context_of(load_settings(path)).store)
    attempts = list(tracked("Attempts", kept))
    if save:
        save.write_text("".join(f"{json.dumps(asdict(one))}\n" for one in attempts), encoding="utf-8")
        in_json(saved=len(attempts))
        done(f"Saved: {len(attempts)} attempts.")
        return
    if not attempts:
        raise ConfigurationError("There is no log: guard.attempts is 0, or nothing has happened yet.")
    settings = load_settings(changed or path)
    tried = informed_context(settings)
    applications, rulesets = tried.applications, {name: one.ruleset for name, one in tried.rulesets.items()}
    if settings.guard.mode(_COUNTRY) is not Mode.ENFORCE:
        applications = {name: replace(one, countries=None) for name, one in applications.items()}
    _show(replay(attempts, rulesets, applications), settings.guard.currency)


def _kept(store: Store) -> Iterator[Attempt]:
    """Return the log of Redis; say that it has an hour of other limits, where a fence tells so."""
    if fence := store.fences.standing():
        halved = f"from {moment(fence.at)} to {moment(fence.until)} UTC"
        note(f"The store was fenced: limits on messages were halved {halved}; here they are not.")
    return store.attempts.all()


def _read(log: Path) -> Iterator[Attempt]:
    for number, line in enumerate(log.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            fields = json.loads(line)
            yield Attempt(**{**fields, "kind": Kind(fields["kind"])}).checked()
        except (ValueError, TypeError, KeyError, RecursionError) as malformed:
            raise ConfigurationError(f"{log}: line {number} is no attempt of a log.") from malformed


def _show(found: Replayed, currency: str) -> None:
    before, after = found.before, found.after
    rows: list[tuple[Cell, ...]] = [
        ("messages", before.messages, after.messages),
        (Shown("cost", f"cost at most, {currency}"), shown(before.cost), shown(after.cost)),
        ("approved", before.approved, after.approved),
        *(
            (f"refused by {rule}", before.refused[rule], after.refused[rule])
            for rule in sorted(before.refused.keys() | after.refused.keys())
        ),
    ]
    table("compared", ("What", "As it went", "Under these rules"), rows)
    counts = ("people_refused", "never_started", "unknown")
    in_json(currency=currency, **{name: getattr(found, name) for name in counts})
    if any(after.refused[rule] > before.refused[rule] for rule in after.refused if rule.startswith("spend.")):
        note("Ceilings refuse more here than they did: nothing is settled in a replay. Leave them out: spend.* = off.")
    note(f"People who were approved and would have been refused: {found.people_refused}.")
    if found.never_started:
        note(f"Resends and codes of verifications that would not have started: {found.never_started}.")
    if found.unknown:
        note(f"Not tried, because they began before the log or belong to no application: {found.unknown}.")
