"""Import lists of numbers that get no messages, as operators and regulators hand them out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from otp_service.domain.numbers import NumberType, parse_destination
from otp_service.domain.people import EVERY_APPLICATION, Act, ActEntry, Suppression, SuppressionScope, SuppressionSource
from otp_service.errors import OtpServiceError
from otp_service.services.context import Context
from otp_service.services.suppressions import suppress

AT_ONCE = 2000
"""Numbers of one transaction: others wait no longer than it takes."""
_TOLD = 20
"""Lines that are named of those that could not be read."""


@dataclass(frozen=True, slots=True)
class ListOrigin:
    """What all entries of a list have in common."""

    application: str
    scope: SuppressionScope
    reason: str
    until: int | None
    """Milliseconds since the epoch; ``None`` for ever."""
    region: str | None
    """Of numbers in national spelling."""
    by: str
    """Who imports it, as acts are recorded by."""


@dataclass(slots=True)
class Imported:
    """How far an import has come."""

    numbers: int = 0
    new: int = 0
    """How many of them the list says anything new of."""
    unreadable: int = 0
    lines: list[int] = field(default_factory=list)
    """The first lines that hold no number, from 1. What they hold is not told: it may be one with a slip."""


def import_suppressions(context: Context, lines: Iterable[str], origin: ListOrigin) -> Iterator[Imported]:
    """Suppress the numbers of a list, one a line; yield how far it has come, again and again.

    Empty lines, and what follows ``#`` or the first comma or semicolon, are passed over. Who was let through since a
    list was imported is suppressed again by importing it again. A list that says anything new is one act. Raises
    `LedgerUnavailableError` or `StoreUnavailableError`: what was told until then is done.
    """
    done = Imported()
    whose = "" if origin.application == EVERY_APPLICATION else origin.application
    act = ActEntry(Act.SUPPRESSIONS_IMPORTED, origin.by, whose, origin.scope)
    pseudonyms = _pseudonyms(context, enumerate(lines, 1), origin, done)
    while some := list(islice(pseudonyms, AT_ONCE)):
        done.new += suppress(context, [_entry(pseudonym, origin) for pseudonym in some], None if done.new else act)
        done.numbers += len(some)
        yield done
    yield done


def _pseudonyms(
    context: Context, lines: Iterable[tuple[int, str]], origin: ListOrigin, done: Imported
) -> Iterator[str]:
    for number, line in lines:
        spelling = line.partition("#")[0].replace(";", ",").partition(",")[0].strip().strip('"')
        if not spelling:
            continue
        try:
            destination = parse_destination(spelling, origin.region, tuple(NumberType))
        except OtpServiceError:
            done.unreadable += 1
            if len(done.lines) < _TOLD:
                done.lines.append(number)
        else:
            yield context.keyring.pseudonym(destination.e164)


def _entry(pseudonym: str, origin: ListOrigin) -> Suppression:
    return Suppression(
        pseudonym=pseudonym,
        application=origin.application,
        scope=origin.scope,
        source=SuppressionSource.IMPORT,
        reason=origin.reason,
        until=origin.until,
    )
