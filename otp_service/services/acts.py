"""The acts of operators: noting one after it, and reading them beside the audit chain."""

from dataclasses import dataclass
from enum import StrEnum

from otp_service.domain.people import ActEntry
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.audit import Link
from otp_service.ledger.schema import acts
from otp_service.services.context import Context
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


class Proof(StrEnum):
    """What the audit chain says of an act."""

    RECORDED = "recorded"
    """It is as it was recorded."""
    UNKNOWN = "unknown"
    """The chain has no entry of it: somebody else put the row in."""
    CHANGED = "changed"
    """The row is not as it was recorded."""


@dataclass(frozen=True, slots=True)
class ActFound:
    """An act that was read, and what the chain says of it."""

    entry: ActEntry
    proof: Proof


def note(context: Context, act: ActEntry) -> bool:
    """Record an act that is done already, and must not wait for the ledger; return whether it could be.

    Where it could not, the log has it.
    """
    try:
        context.ledger.acts.add(act)
    except LedgerUnavailableError:
        _log.warning("act_not_recorded", act=str(act.act), by=act.by, application=act.application, about=act.about)
        return False
    return True


def find_acts(context: Context, since: int | None, until: int | None, most: int) -> tuple[ActFound, ...]:
    """Return the acts from a time on and before another, oldest first, each with what the chain says of it.

    Raises `LedgerUnavailableError`.
    """
    found = context.ledger.acts.between(since, until, most)
    links = {one.entry.row: one for one in context.ledger.audit.links_of(acts.name, [act.id for act in found])}
    return tuple(ActFound(act, _proof(links.get(act.id))) for act in found)


def _proof(link: Link | None) -> Proof:
    if link is None:
        return Proof.UNKNOWN
    return Proof.RECORDED if link.digest and link.entry.is_of(link.digest) else Proof.CHANGED
