"""``otp-service audit``: whether what was recorded is as it was, and how that is shown to others."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from otp_service.cli.context import context_of, looking_through
from otp_service.cli.disputes import check, export
from otp_service.cli.options import DAY, start_of
from otp_service.cli.output import Cell, counted, done, in_json, members, note, reading, table, warn, when
from otp_service.ledger.audit import MAX_FOUND, SignedHead
from otp_service.services.audit import Looked, head_line, read_heads, signed_head
from otp_service.services.audit import verify as look_through
from otp_service.services.operator_actions import ActFound, Proof, find_acts
from otp_service.settings import load_settings


@click.group()
def audit() -> None:
    """Prove that what was recorded in the ledger is as it was."""


@audit.command()
@click.option(
    "--heads", "file", type=click.File(encoding="utf-8"), help="Heads that were exported; - for standard input."
)
@reading
def verify(file: Any, path: Path | None) -> None:  # noqa: ANN401 - click's, of text
    """Look through the whole audit chain, and at the rows that it is of.

    Says where an entry or a row was changed, removed or put elsewhere, and exits with 1 then. That the last entries
    were cut off shows only by heads that were exported before: give them with --heads.
    """
    settings = load_settings(path)
    context, looked = context_of(settings), Looked()
    with looking_through(context, looked):
        flaws = list(look_through(context, looked, _heads(file)))
    if not in_json(flaws=list(map(members, flaws)), **asdict(looked)):
        for flaw in flaws:
            click.echo(f"{flaw.sequence or '-'}\t{flaw.sentence}")
    note(f"Entries: {looked.entries}, from {looked.first} to {looked.last}; of rows that were purged: {looked.gone}.")
    note(f"Signed heads that the chain agrees with: {looked.heads}.")
    for data, days in sorted(looked.purged_after.items()):
        if days < (kept := getattr(settings.retention, data)):
            warn(f"{data} were purged after {days} d once, and are kept for {kept} d now: was that setting changed?")
    if flaws:
        raise click.ClickException(f"The ledger is not as it was recorded: {counted(len(flaws), 'flaw')}.")
    done("The ledger is as it was recorded.")


@audit.command(short_help="Print how far the chain has come, signed.")
@reading
def head(path: Path | None) -> None:
    """Print how far the chain has come, signed; keep it where nobody who can change the ledger can change it."""
    context = context_of(load_settings(path))
    line = head_line(context, signed_head(context, context.ledger.audit.head()))
    if not in_json(**json.loads(line)):
        click.echo(line)


@audit.command()
@click.option("--from", "since", type=DAY, help="On this day (UTC) or later.")
@click.option("--to", "until", type=DAY, help="On this day (UTC) or before.")
@reading
def acts(since: datetime | None, until: datetime | None, path: Path | None) -> None:
    """List what operators did, and what the audit chain says of it. Times are in UTC.

    An act that is unknown there was put into the ledger by somebody else, one that is changed is not as it was
    recorded. That one was removed is told by "otp-service audit verify".
    """
    context = context_of(load_settings(path))
    found = find_acts(context, start_of(since), start_of(until, days=1), MAX_FOUND + 1)
    table("acts", ("When", "Act", "By", "Application", "About", "Chain"), map(_row, found[:MAX_FOUND]))
    in_json(complete=len(found) <= MAX_FOUND)
    if any(one.proof is not Proof.RECORDED for one in found[:MAX_FOUND]):
        warn("Not all of this is as it was recorded: otp-service audit verify.")
    if len(found) > MAX_FOUND:
        warn(f"There are more than these {MAX_FOUND}: narrow it by --from and --to.")


audit.add_command(export)
audit.add_command(check)


def _row(one: ActFound) -> tuple[Cell, ...]:
    act = one.entry
    return when(act.at), act.act, act.by, act.application, act.about, one.proof


def _heads(file: Any) -> tuple[SignedHead, ...]:  # noqa: ANN401 - click's, of text
    try:
        return tuple(read_heads(file or ()))
    except ValueError as foreign:
        raise click.UsageError("--heads has a line that is no exported head.") from foreign
