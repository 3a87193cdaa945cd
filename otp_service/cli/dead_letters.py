"""``otp-service dead-letters``: messages that were given up, and putting them back."""

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command
from otp_service.domain.verification import MAX_CODE_LIFE
from otp_service.errors import ConfigurationError
from otp_service.services import operator_actions
from otp_service.services.operations import IN_VAIN, REDRIVE_WORDS, matches_scope
from otp_service.store.outbox import DeadLetter, DeadLetters, RedriveResult, short_reason


@click.group(name="dead-letters")
def dead_letters() -> None:
    """Look at messages that were given up, and put them back."""


@command(dead_letters, "List messages that were given up.")
@click.option("--most", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many to show.")
def list_(session: Session, most: int) -> None:
    """List the newest messages that were given up, newest first, with the reason. Times are in UTC."""
    letters = session.context.store.dead_letters
    shown, count = letters.newest(most), letters.count()
    headings = ("Id", "Given up", "Reason", "Application", "Purpose", "Country", "Channel", "Verification")
    out.table("dead_letters", headings, map(_row, shown))
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
    """Put messages back into the outbox, by the ID that "list" shows, or all of them; say what became of each.

    A message goes out only while its verification waits for the code, and one whose fate is not known may arrive twice.
    With --all, those whose reason is destination, fraud or policy stay, unless --reason names it: another try changes
    nothing, and may cost. The exit status is 1 when one that was named by its ID was not put back.
    """
    if bool(ids) == every or (reason is not None and not every):
        raise click.UsageError("Name dead letters by their ID, or give --all.")
    if every:
        _redrive_all(session, reason)
        return
    named = _letters_by_id(session.context.store.dead_letters, ids)
    if _put_back(session, named) < len(named):
        raise SystemExit(1)


def _letters_by_id(letters: DeadLetters, ids: tuple[str, ...]) -> list[DeadLetter]:
    found = {one: letters.find(one) for one in ids}
    unknown = [one for one, letter in found.items() if letter is None]
    if unknown:
        raise ConfigurationError(f"There is no dead letter {', '.join(unknown)} (otp-service dead-letters list).")
    return [letter for letter in found.values() if letter]


def _redrive_all(session: Session, reason: str | None) -> None:
    """Put back what can be: a letter that is older than any code lives stays where it is."""
    letters = session.context.store.dead_letters
    young = letters.since(1000 * MAX_CODE_LIFE)  # an older one's code is dead for certain
    older = letters.count() - len(young)
    meant = [letter for letter in reversed(young) if matches_scope(letter, reason)]  # oldest first
    back = _put_back(session, meant)
    out.done(f"{back} of {len(meant)} put back.", older=older)
    for word in IN_VAIN if reason is None else ():
        if left := sum(short_reason(letter) == word for letter in young):
            vain = f"{left} left for the reason {word}: another try changes nothing."
            out.note(f"{vain} To try all the same: --reason {word}")
    if older:
        out.note(f"{older} older left as they are: their codes have expired.")


def _put_back(session: Session, letters: list[DeadLetter]) -> int:
    """Put letters back, print the result of each, and return how many went."""
    results: list[dict[str, str | None]] = []

    def note(letter: DeadLetter, result: RedriveResult, reason: str) -> None:
        sentence, verification = REDRIVE_WORDS[result].format(why=reason), letter.member("id")
        results.append({"id": letter.id, "verification": verification or None, "result": result, "sentence": sentence})
        if not out.in_json():
            click.echo(f"{letter.id}\t{verification or '-'}\t{sentence}")

    back = operator_actions.redrive(session.context, letters, session.operator, note)
    out.in_json(results=results, put_back=back)
    return back


def _row(letter: DeadLetter) -> out.Row:
    members = map(letter.member, ("application", "purpose", "country", "channel", "id"))
    return letter.id, out.when(letter.at), letter.reason, *members
