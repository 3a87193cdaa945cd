"""What ``doctor`` finds about the ledger, and its mirror in Redis."""

from collections.abc import Iterator

from otp_service.bootstrap import LEDGER_BEHIND, LEDGER_OF_OTHER_KEY
from otp_service.cli.findings import Finding, Level, refused
from otp_service.cli.output import counted
from otp_service.errors import LedgerMismatchError, LedgerUnavailableError
from otp_service.services.context import Context
from otp_service.services.mirror import MISMATCHES, MirrorState
from otp_service.settings import Settings
from otp_service.settings.sections import leads_elsewhere

_LATE = 10_000
"""Events that wait to be recorded from which on somebody should look."""
_SUBJECT = "ledger"
_SUPERUSER = Finding(
    Level.WARN,
    "ledger.url",
    "The database's role is a superuser: who takes over a process takes the database server, and its host, too.",
    "Use a role that owns the ledger's database and nothing else (CREATE ROLE ... LOGIN, ALTER DATABASE ... OWNER TO).",
)


def ledger_findings(settings: Settings, context: Context) -> Iterator[Finding]:
    """Yield what the ledger and its mirror tell; nothing is written, nor is a file made."""
    yield from _one_host(settings)
    try:
        if settings.production and context.ledger.database.is_superuser():
            yield _SUPERUSER
        yield from _ledger(settings, context)
    except LedgerMismatchError:
        yield refused(LEDGER_OF_OTHER_KEY, Level.FAIL)
    except LedgerUnavailableError as away:
        yield Finding(
            Level.FAIL, "ledger.url", f"{settings.ledger.shown_url}: {away}", "Start it, or correct ledger.url."
        )


def _one_host(settings: Settings) -> Iterator[Finding]:
    elsewhere = leads_elsewhere(settings.redis.url.get_secret_value())
    if settings.ledger.shown_url.startswith("sqlite") and elsewhere:
        yield Finding(
            Level.WARN,
            "ledger.url",
            "The ledger is a file of this host, and Redis is on another: processes elsewhere have another ledger.",
            "Use postgresql:// unless all processes run here.",
        )


def _ledger(settings: Settings, context: Context) -> Iterator[Finding]:
    if not context.ledger.database.there():
        yield Finding(Level.OK, _SUBJECT, "The ledger is still to be made; the first process does it.")
        return
    if context.ledger.behind():
        yield refused(LEDGER_BEHIND, Level.WARN if settings.ledger.upgrade else Level.FAIL)
        return
    yield from standing(context)


def standing(context: Context) -> Iterator[Finding]:
    """Yield how far the mirror in Redis, and the recorder, are behind; raises `LedgerUnavailableError`."""
    yield mirror_finding(context)
    yield _recorder(context.store.events.unrecorded())


def mirror_finding(context: Context) -> Finding:
    """Return how far the mirror in Redis has come; raises `LedgerUnavailableError`."""
    last, (place, closed) = context.ledger.mirrored.head(), context.store.mirror.head()
    if place is None:
        return _no_mirror(context.ledger.mirrored.was_mirrored() and not context.reflection.rebuilds_lost)
    if place.identity != last.identity:
        return Finding(
            Level.FAIL, _SUBJECT, MISMATCHES[MirrorState.FOREIGN],
            "Correct ledger.url, or go by this ledger from now on: otp-service ledger rebuild.",
        )  # fmt: skip
    if closed or not context.ledger.mirrored.has(place):
        return Finding(
            Level.FAIL, _SUBJECT, f"{MISMATCHES[MirrorState.DIVERGED]} Nothing is sent.",
            "Restore a newer copy or import the opt-outs that are missing, and then: otp-service ledger rebuild.",
        )  # fmt: skip
    if behind := context.ledger.mirrored.head().sequence - place.sequence:
        return Finding(Level.WARN, _SUBJECT, f"Redis is {counted(behind, 'change')} behind.", "Look again.")
    return Finding(Level.OK, _SUBJECT, f"The ledger answers, and {known(last.sequence)}")


def _no_mirror(lost: bool) -> Finding:  # noqa: FBT001 - its only argument
    if lost:
        return Finding(
            Level.FAIL, _SUBJECT, f"{MISMATCHES[MirrorState.LOST]} Nothing is sent.",
            "Where no older copy of the ledger was restored: otp-service ledger rebuild, and otp-service store fence.",
        )  # fmt: skip
    return Finding(
        Level.WARN, _SUBJECT, "Redis knows nothing of this ledger yet: starts are refused.",
        "It is mirrored when a process starts; if it stays so: otp-service ledger rebuild.",
    )  # fmt: skip


def known(changes: int) -> str:
    """Return the sentence that Redis is up to date."""
    return f"Redis knows all of it (consents and suppressions: {counted(changes, 'change')})."


def _recorder(unrecorded: int) -> Finding:
    if unrecorded >= _LATE:
        return Finding(
            Level.WARN,
            _SUBJECT,
            f"{counted(unrecorded, 'event')} are not recorded yet.",
            "Start more workers, or a faster database.",
        )
    return Finding(Level.OK, _SUBJECT, f"Events that are still to be recorded: {unrecorded}.")
