"""otp-service audit, dispute and incident: evidence from the ledger."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from otp_service.cli.common import context_of, looking_through
from otp_service.cli.output import (
    DAY,
    Cell,
    counted,
    destination,
    done,
    in_json,
    json_text,
    members,
    note,
    reading,
    region_option,
    start_of,
    table,
    warn,
    when,
)
from otp_service.domain.payments import canonical_transaction
from otp_service.ledger.audit import MAX_FOUND, SignedHead, Span, Wanted
from otp_service.services.audit import Incident, Looked, counts_of, flaws_of, head_line, pack, read_heads, signed_head
from otp_service.services.audit import report as report_of
from otp_service.services.audit import verify as look_through
from otp_service.services.context import Context
from otp_service.services.operator_actions import ActFound, Proof, find_acts
from otp_service.settings import load_settings


@click.command(short_help="Write a dispute pack: what was recorded, signed.")
@click.option("--verification", help="One verification, by its id.")
@click.option("--transaction", help="A payment, as JSON with the members of the start; needs --application.")
@click.option("--reference", help="A payment's reference; needs --application.")
@click.option("--subject", "number", help="All of a phone number.")
@click.option("--application", "name", help="Only of this application.")
@click.option("--from", "since", type=DAY, help="Started on this day (UTC) or later.")
@click.option("--to", "until", type=DAY, help="Started on this day (UTC) or before.")
@region_option
@reading
def export(**options: Any) -> None:  # noqa: ANN401 - click's
    """Write a dispute pack as JSON: what was recorded of some verifications, provable and signed.

    It has the template and its digest, channels, times, gateways with their references, what became of each message,
    consents and suppressions; neither a code nor a number.
    """
    context = context_of(load_settings(options["path"]))
    wanted, about = _wanted(context, options)
    document = pack(context, wanted, about)
    if not in_json(**document):
        click.echo(json_text(document))
    note(f"Verifications: {len(document['verifications'])}.")
    if not document["complete"]:
        warn(f"There may be more than these {MAX_FOUND}: narrow it by --from and --to.")


@click.command(short_help="Check a dispute pack that somebody wrote.")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--key", help="Public key of who made it, base64; default: this installation's.")
@reading
def check(file: Any, key: str | None, path: Path | None) -> None:  # noqa: ANN401 - click's, of text
    """Check a dispute pack, - for standard input: the signature, and that each row is the one that was recorded."""
    key = key or context_of(load_settings(path)).keyring.signer.public_key
    try:
        flaws = list(flaws_of(json.load(file), key))
    except ValueError as foreign:
        raise click.UsageError("This is no dispute pack.") from foreign
    if not in_json(flaws=flaws):
        click.echo("".join(f"{flaw}\n" for flaw in flaws), nl=False)
    if flaws:
        raise click.ClickException("The pack does not hold.")
    done("The pack holds: signed by this key, and each row is the one that was recorded.")


def _wanted(context: Context, options: Mapping[str, Any]) -> tuple[Wanted, dict[str, str]]:
    """Return what is wanted, and how that may be shown."""
    name, number = options["name"], options["number"]
    wanted = Wanted(
        verification=options["verification"],
        payment=_payment(context, options),
        pseudonym=None,
        application=name,
        since=start_of(options["since"]),
        until=start_of(options["until"], days=1),
    )
    shown = {"verification": options["verification"], "application": name, "reference": options["reference"]}
    shown |= {word: f"{options[day]:%Y-%m-%d}" for word, day in (("from", "since"), ("to", "until")) if options[day]}
    if options["transaction"]:
        shown["transaction"] = "as given"
    if number:
        to = destination(number, options["region"])
        wanted = replace(wanted, pseudonym=context.keyring.pseudonym(to.e164))
        shown["subject"] = to.mask
    if wanted == Wanted(application=name):
        raise click.UsageError(
            "Say of what: --verification, --transaction, --reference, --subject, or --from and --to."
        )
    return wanted, {word: value for word, value in shown.items() if value}


def _payment(context: Context, options: Mapping[str, Any]) -> str | None:
    name, reference, transaction = options["name"], options["reference"], options["transaction"]
    if (reference or transaction) and not name:
        raise click.UsageError("A payment is recorded under its application: give --application too.")
    if reference:
        return context.keyring.reference_name(name, reference)
    if not transaction:
        return None
    try:
        given = canonical_transaction(**json.loads(transaction))
    except (TypeError, ValueError) as malformed:
        raise click.UsageError(
            "--transaction is JSON with amount, currency, payee and what else was given."
        ) from malformed
    return context.keyring.payment_names(name, given).payment


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


_MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"])


@click.group()
def incident() -> None:
    """Tell what has to be told when something went wrong."""


@incident.command(short_help="Write a report on a time, in counts.")
@click.option("--from", "since", type=_MOMENT, required=True, help="Begin, UTC: 2026-11-26 or 2026-11-26T09:30.")
@click.option("--to", "until", type=_MOMENT, required=True, help="End, UTC.")
@click.option("--application", "name", help="Only of this application; default: of all.")
@click.option("--nature", default="", help="What happened.")
@click.option("--measures", default="", help="What was done about it.")
@reading
def report(since: datetime, until: datetime, name: str | None, nature: str, measures: str, path: Path | None) -> None:
    """Write a report on a time as Markdown: what was recorded, of how many people, through which systems.

    It has counts, small ones only as such, and nothing of a person; who is concerned, the controller finds out.
    """
    begin, end = (round(moment.replace(tzinfo=UTC).timestamp() * 1000) for moment in (since, until))
    if end <= begin:
        raise click.UsageError("--to is not after --from.")
    words = f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
    context = context_of(load_settings(path))
    about, told, looked = Span(begin, end, name), Incident(nature, measures), Looked()
    with looking_through(context, looked):
        if in_json(since=when(begin), until=when(end), application=name, **members(told)):
            in_json(**counts_of(context, about, looked))
            return
        text = report_of(context, about, told, words, looked)
    click.echo(text, nl=False)
