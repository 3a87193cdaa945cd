"""``otp-service audit export`` and ``check``: dispute packs, made for others and looked at by them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from otp_service.cli.context import context_of
from otp_service.cli.options import DAY, destination, region_option, start_of
from otp_service.cli.output import done, in_json, json_text, note, reading, warn
from otp_service.domain.payments import canonical_transaction
from otp_service.ledger.audit import MAX_FOUND, Wanted
from otp_service.services.audit import flaws_of, pack
from otp_service.services.context import Context
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
