"""Identifiers of verifications, dispatches, requests, webhooks, factors and decisions, and references of gateways."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Final

from otp_service.domain.audit import Event
from otp_service.domain.keyring import time_of_request, user_of_factor
from otp_service.errors import LedgerUnavailableError
from otp_service.gateways.base import REFERENCE, SupportsConnections
from otp_service.services.context import Context
from otp_service.services.explanations import find_decisions
from otp_service.store.events import Decision

MAX_VERIFICATIONS: Final = 20
"""Verifications of an identifier: references of several gateways may be the same."""
DAYS: Final = 2
"""Days in which a dispatch or a reference is searched by default."""
_DAY: Final = 86_400_000
_MARGINS: Final = (2_000, 60_000)
"""Milliseconds between the clock of an API host, which is in a request's identifier, and Redis': the first is rarely
exceeded, the last never."""


@dataclass(frozen=True, slots=True)
class FactorHistory:
    """The events of an authenticator app."""

    id: str
    application: str
    events: tuple[Event, ...]
    """Oldest first."""


@dataclass(frozen=True, slots=True)
class Identified:
    """The records of an identifier; all empty for an unknown one."""

    verifications: tuple[str, ...] = ()
    """Their identifiers, newest first."""
    decisions: tuple[Decision, ...] = ()
    factor: FactorHistory | None = None
    complete: bool = True
    """Whether all records were read that may name the identifier."""
    from_ledger: bool = True
    """False if the ledger was away, and only Redis was searched."""

    def __bool__(self) -> bool:
        return bool(self.verifications or self.decisions or self.factor)


def identify(context: Context, name: str, days: int = DAYS) -> Identified:
    """Return the records of an identifier; dispatches and references are searched in the last ``days``."""
    if context.keyring.bucket_of_id(name, retired=True):
        return Identified((name,))
    if user_of_factor(name):
        return Identified(factor=find_factor(context, name))
    if (at := time_of_request(name)) is not None:
        return _of_request(context, name, at)
    if decisions := find_decisions(context, name):
        return Identified(decisions=decisions)
    verification = _of_dispatch(context, name) or _of_reference(context, name)
    if verification is None and name.startswith("wh_"):
        verification = context.ledger.webhook_outbox.verification_of(name)
    if verification or not REFERENCE.fullmatch(name):
        return Identified((verification,) if verification else ())
    member = "dispatch" if context.keyring.bucket_of_dispatch(name) else "reference"
    since = context.store.decisions.now() - days * _DAY
    spans = {
        bucket: ("{}-{}".format(*context.store.events.unrecorded_from(bucket)), "+")
        for bucket in context.keyring.buckets
    }
    return _search(context, member, name, since, None, spans)


def _of_request(context: Context, name: str, at: int) -> Identified:
    identified = Identified()
    for margin in _MARGINS:
        first, last = max(0, at - margin), at + margin
        spans = dict.fromkeys(context.keyring.buckets, (str(first), str(last)))
        identified = _search(context, "request", name, first, last, spans)
        if identified := replace(identified, decisions=context.store.decisions.of_request(name, first, last)):
            break
    return identified


def _search(
    context: Context, member: str, value: str, since: int, until: int | None, spans: Mapping[str, tuple[str, str]]
) -> Identified:
    """Search the ledger from a time to another, and a span of each bucket's events."""
    identifiers, complete = context.store.history.verifications_with(member, value, spans)
    from_ledger = True
    try:
        recorded = context.ledger.verifications.verifications_with(member, value, since, until, MAX_VERIFICATIONS)
        identifiers = (*identifiers, *recorded)
    except LedgerUnavailableError:
        from_ledger = False
    distinct = tuple(dict.fromkeys(identifiers))
    return Identified(distinct[:MAX_VERIFICATIONS], complete=complete, from_ledger=from_ledger)


def _of_dispatch(context: Context, dispatch_id: str) -> str | None:
    bucket = context.keyring.bucket_of_dispatch(dispatch_id)
    return context.store.dispatches.verification_of(bucket, dispatch_id) if bucket else None


def _of_reference(context: Context, reference: str) -> str | None:
    """Return the verification of a reference in Redis, which stores those of gateways with connections."""
    for name, gateway in context.gateways.items():
        if isinstance(gateway, SupportsConnections) and (
            dispatch_id := context.store.references.known(name, (reference,))
        ):
            return _of_dispatch(context, dispatch_id)
    return None


def find_factor(context: Context, factor_id: str) -> FactorHistory | None:
    """Return the history of an authenticator app, ``None`` for an unknown one."""
    user = user_of_factor(factor_id)
    if user is None:
        return None
    bucket, ledger = context.keyring.bucket(user), context.ledger
    begin = context.store.events.unrecorded_from(bucket)  # first: events recorded from now on are read twice
    recorded = (
        *ledger.factors.changes_of(factor_id, user),
        *ledger.verifications.events_of([factor_id])[factor_id],
        *context.store.history.events_of(bucket, {factor_id: None}, begin).of(factor_id),
    )
    happened = tuple(sorted({event.id: event for event in recorded}.values(), key=attrgetter("place")))
    application = next((event.member("application") for event in happened if event.member("application")), "")
    return FactorHistory(factor_id, application, happened) if happened else None
