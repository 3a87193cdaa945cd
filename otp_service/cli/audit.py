"""otp-service audit: verify the ledger, dispute packs, operators' actions."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import click

from otp_service.cli import output as out
from otp_service.cli.common import DAY, Session, command, day_start, parse_number, region_option
from otp_service.domain.payments import Transaction
from otp_service.ledger.audit import MAX_VERIFICATIONS, DisputeFilter, IncidentScope
from otp_service.services.audit import (
    AuditProgress,
    Incident,
    build_dispute_evidence,
    chain_notes,
    count_incident,
    early_purges,
    head_to_json,
    read_heads,
    sign_head,
    verdict,
    verify_dispute_pack,
)
from otp_service.services.audit import verify_chain as verify_audit_chain
from otp_service.services.audit import write_incident_report as incident_report
from otp_service.services.context import Context
from otp_service.services.operator_actions import AuditStatus, find_actions

MAX_ACTIONS = 1000
_MORE_EXIST = "There may be more than these {}: narrow it by --from and --to."


@click.group()
def audit() -> None:
    """Prove that the records of the ledger are unchanged."""


@command(audit, "Write a dispute pack: signed records.")
@click.option("--verification", help="Id of a verification.")
@click.option("--transaction", help="A payment, as JSON with the members of the start; needs --application.")
@click.option("--reference", help="A payment's reference; needs --application.")
@click.option("--subject", "number", help="All verifications of a phone number.")
@click.option("--application", "name", help="Only of this application.")
@click.option("--from", "since", type=DAY, help="Started on this day (UTC) or later.")
@click.option("--to", "until", type=DAY, help="Started on this day (UTC) or before.")
@region_option
def export(session: Session, **options: Any) -> None:  # noqa: ANN401 - click's
    """Write a dispute pack as JSON: the records of verifications with proofs, signed.

    It has each message's template, digest, channel, time, gateway, reference and end, consents and suppressions, but no
    code and no number.
    """
    context, name, number = session.context, options["name"], options["number"]
    query = DisputeFilter(
        verification=options["verification"],
        payment=_payment(context, options),
        pseudonym=None,
        application=name,
        since=day_start(options["since"]),
        until=day_start(options["until"], days=1),
    )
    shown = {"verification": options["verification"], "application": name, "reference": options["reference"]}
    shown |= {word: f"{options[day]:%Y-%m-%d}" for word, day in (("from", "since"), ("to", "until")) if options[day]}
    if options["transaction"]:
        shown["transaction"] = "as given"
    if number:
        to = parse_number(number, options["region"])
        query = replace(query, pseudonym=context.keyring.pseudonym(to.e164))
        shown["subject"] = to.mask
    if query == DisputeFilter(application=name):
        raise click.UsageError("Use --verification, --transaction, --reference, --subject, or --from and --to.")
    document = build_dispute_evidence(context, query, {word: value for word, value in shown.items() if value})
    out.print_json(document)
    out.note(f"Verifications: {len(document['verifications'])}.")
    if not document["complete"]:
        out.warn(_MORE_EXIST.format(MAX_VERIFICATIONS))


@command(audit, "Check a dispute pack.")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--key", help="Public key of its installation, base64; default: this installation's.")
def check(session: Session, file: Any, key: str | None) -> None:  # noqa: ANN401 - click's, of text
    """Check a dispute pack, - for standard input: the signature, and that no row was changed since it was recorded."""
    key = key or session.context.keyring.signer.public_key
    try:
        flaws = list(verify_dispute_pack(json.load(file), key))
    except ValueError as foreign:
        raise click.UsageError("FILE is not a dispute pack. Name a file that audit export wrote.") from foreign
    if not out.in_json(flaws=flaws):
        click.echo("".join(f"{flaw}\n" for flaw in flaws), nl=False)
    if flaws:
        raise click.ClickException("The pack is not valid.")
    out.done("The pack is valid: signed by this key, and no row was changed since it was recorded.")


def _payment(context: Context, options: Mapping[str, Any]) -> str | None:
    name, reference, transaction = options["name"], options["reference"], options["transaction"]
    if (reference or transaction) and not name:
        raise click.UsageError("A payment is recorded under its application: add --application.")
    if reference:
        return context.keyring.reference_name(name, reference)
    if not transaction:
        return None
    try:
        canonical = Transaction(**json.loads(transaction)).canonical()
    except (TypeError, ValueError) as malformed:
        message = "--transaction must be JSON with amount, currency, payee and the other members of the start."
        raise click.UsageError(message) from malformed
    return context.keyring.payment_names(name, canonical).payment


@command(audit)
@click.option(
    "--heads", "file", type=click.File(encoding="utf-8"), help="File of exported heads; - for standard input."
)
def verify(session: Session, file: Any) -> None:  # noqa: ANN401 - click's, of text
    """Verify the whole audit chain and its rows.

    Prints changed, removed and moved entries and rows, and exits with 1 then. Only exported heads show that the last
    entries were cut off: pass them with --heads.
    """
    context, progress = session.context, AuditProgress()
    try:
        heads = tuple(read_heads(file or ()))
    except ValueError as foreign:
        raise click.UsageError("--heads has a line that is not an exported head.") from foreign
    with session.show_audit_progress(progress):
        flaws = list(verify_audit_chain(context, progress, heads))
    members = [{"sequence": flaw.sequence, "sentence": flaw.sentence} for flaw in flaws]
    if not out.in_json(flaws=members, **asdict(progress)):
        for flaw in flaws:
            click.echo(f"{flaw.sequence or '-'}\t{flaw.sentence}")
    for note in chain_notes(progress):
        out.note(str(note))
    for purge in early_purges(progress, session.settings.retention.model_dump()):
        out.warn(str(purge))
    if flaws:
        raise click.ClickException(str(verdict(len(flaws))))
    out.done(str(verdict(0)))


@command(audit, "Print the signed head of the chain.")
def head(session: Session) -> None:
    """Print the signed head of the chain. Store it out of reach of users who can change the ledger."""
    context = session.context
    line = head_to_json(context, sign_head(context, context.ledger.audit.head()))
    if not out.in_json(**json.loads(line)):
        click.echo(line)


@command(audit)
@click.option("--from", "since", type=DAY, help="On this day (UTC) or later.")
@click.option("--to", "until", type=DAY, help="On this day (UTC) or before.")
def actions(session: Session, since: datetime | None, until: datetime | None) -> None:
    """List the actions of operators, and their state in the audit chain. Times are in UTC.

    An unknown action was not recorded by otp-service; a changed action differs from its record. "otp-service audit
    verify" reports removed actions.
    """
    proved = find_actions(session.context, day_start(since), day_start(until, days=1), MAX_ACTIONS + 1)
    complete = len(proved) <= MAX_ACTIONS
    shown = [(action.entry, action.proof) for action in proved[:MAX_ACTIONS]]
    rows = [
        (out.when(entry.at), entry.action, entry.by, entry.application, entry.target, proof) for entry, proof in shown
    ]
    out.table("actions", ("When", "Action", "By", "Application", "About", "Chain"), rows)
    out.in_json(complete=complete)
    if any(proof is not AuditStatus.RECORDED for _, proof in shown):
        out.warn("Some actions differ from their records: otp-service audit verify.")
    if not complete:
        out.warn(_MORE_EXIST.format(MAX_ACTIONS))


_MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"])


@click.group()
def incident() -> None:
    """Write reports on incidents."""


@command(incident, "Write a report on a time, in counts.")
@click.option("--from", "since", type=_MOMENT, required=True, help="Begin, UTC: 2026-11-26 or 2026-11-26T09:30.")
@click.option("--to", "until", type=_MOMENT, required=True, help="End, UTC.")
@click.option("--application", "name", help="Only of this application; default: of all.")
@click.option("--nature", default="", help="What happened.")
@click.option("--measures", default="", help="What was done about it.")
def report(session: Session, since: datetime, until: datetime, name: str | None, nature: str, measures: str) -> None:
    """Write a report on a time as Markdown: the counts of records and of people, and the systems involved.

    It has no personal data, and no exact small counts. The controller identifies the people concerned.
    """
    begin, end = (round(moment.replace(tzinfo=UTC).timestamp() * 1000) for moment in (since, until))
    if end <= begin:
        raise click.UsageError("--to must be after --from.")
    period = f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
    scope, details, progress = IncidentScope(begin, end, name), Incident(nature, measures), AuditProgress()
    with session.show_audit_progress(progress):
        if out.in_json(since=out.when(begin), until=out.when(end), application=name, **out.members(details)):
            out.in_json(**count_incident(session.context, scope, progress))
            return
        text = incident_report(session.context, scope, details, period, progress)
    click.echo(text, nl=False)
