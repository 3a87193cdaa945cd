"""``otp-service dead-letters``: list and redrive messages that were given up."""

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command
from otp_service.domain.verification import MAX_CODE_LIFE
from otp_service.errors import ConfigurationError
from otp_service.services import operator_actions
from otp_service.services.operations import IN_VAIN, REDRIVE_WORDS, matches_scope
from otp_service.store.outbox import DeadLetter, RedriveResult, short_reason


@click.group(name="dead-letters")
def dead_letters() -> None:
    """List messages that were given up, and put them back."""


@command(dead_letters, "List messages that were given up.")
@click.option(
    "--most", "max_shown", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Maximum to show."
)
def list_(session: Session, max_shown: int) -> None:
    """List the newest messages that were given up, newest first, with the reason. Times are in UTC."""
    letters = session.context.store.dead_letters
    shown, count = letters.newest(max_shown), letters.count()
    headings = ("Id", "Given up", "Reason", "Application", "Purpose", "Country", "Channel", "Verification")
    members = ("application", "purpose", "country", "channel", "id")
    rows = [(letter.id, out.when(letter.at), letter.reason, *map(letter.member, members)) for letter in shown]
    out.table("dead_letters", headings, rows)
    out.in_json(count=count)
    out.note(f"{len(shown)} of {count} shown.")


@command(dead_letters, "Put messages back into the outbox.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="All whose code may still live, but for the reasons destination, fraud and policy.",
)
@click.option("--reason", help="With --all: those whose reason begins with this word, such as rejected, and no others.")
def redrive(session: Session, ids: tuple[str, ...], reason: str | None, *, every: bool) -> None:
    """Put messages back into the outbox, by the ID that "list" shows, or all of them, and print each result.

    A message goes out only while its verification waits for the code; a message of unknown fate may arrive twice. With
    --all, those whose reason is destination, fraud or policy stay, unless --reason names it: another try changes
    nothing, and may cost. The exit status is 1 if a message named by its ID was not put back.
    """
    if bool(ids) == every or (reason is not None and not every):
        raise click.UsageError("Name dead letters by their ID, or use --all.")
    if every:
        _redrive_all(session, reason)
        return
    letters = {letter_id: session.context.store.dead_letters.find(letter_id) for letter_id in ids}
    if unknown := [letter_id for letter_id, letter in letters.items() if letter is None]:
        raise ConfigurationError(f"No dead letter has the ID {', '.join(unknown)} (otp-service dead-letters list).")
    if _put_back(session, [letter for letter in letters.values() if letter]) < len(letters):
        raise SystemExit(1)


def _redrive_all(session: Session, reason: str | None) -> None:
    letters = session.context.store.dead_letters
    young = letters.since(1000 * MAX_CODE_LIFE)  # codes of older letters have expired
    older = letters.count() - len(young)
    matching = [letter for letter in reversed(young) if matches_scope(letter, reason)]  # oldest first
    back = _put_back(session, matching)
    out.done(f"{back} of {len(matching)} put back.", older=older)
    for word in IN_VAIN if reason is None else ():
        if left := sum(short_reason(letter) == word for letter in young):
            skipped = f"{left} left for the reason {word}: another try changes nothing."
            out.note(f"{skipped} To try all the same: --reason {word}")
    if older:
        out.note(f"{older} older ones were left: their codes have expired.")


def _put_back(session: Session, letters: list[DeadLetter]) -> int:
    """Put letters back, print each result, and return the count of successes."""
    results: list[dict[str, str | None]] = []

    def note(letter: DeadLetter, result: RedriveResult, reason: str) -> None:
        sentence, verification = REDRIVE_WORDS[result].format(why=reason), letter.member("id")
        results.append({"id": letter.id, "verification": verification or None, "result": result, "sentence": sentence})
        if not out.in_json():
            click.echo(f"{letter.id}\t{verification or '-'}\t{sentence}")

    back = operator_actions.redrive(session.context, letters, session.operator, note)
    out.in_json(results=results, put_back=back)
    return back
