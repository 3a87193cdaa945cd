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

MOST: Final = 20
"""Verifications that one identifier leads to: references of several gateways may be the same."""
DAYS: Final = 2
"""Days in which a dispatch or a reference is looked for where nobody says."""
_DAY: Final = 86_400_000
_MARGINS: Final = (2_000, 60_000)
"""Milliseconds by which the clock of an API host, which is in a request's identifier, differs from Redis': hardly ever
more than the first, never more than the last."""


@dataclass(frozen=True, slots=True)
class FactorHistory:
    """What happened to an authenticator app, oldest first."""

    id: str
    application: str
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Identified:
    """What an identifier belongs to; all empty where nothing is known of it."""

    verifications: tuple[str, ...] = ()
    """Their identifiers, newest first."""
    decisions: tuple[Decision, ...] = ()
    factor: FactorHistory | None = None
    complete: bool = True
    """Whether all was read that may name it."""
    from_ledger: bool = True
    """Whether the ledger was read, where it may name it; while it is away there is only what Redis remembers."""

    def __bool__(self) -> bool:
        return bool(self.verifications or self.decisions or self.factor)


def identify(context: Context, name: str, days: int = DAYS) -> Identified:
    """Return what an identifier belongs to; dispatches and references are looked for in the last ``days``.

    While the ledger is away only Redis is searched; raises `LedgerUnavailableError` for what only the ledger has.
    """
    if context.keyring.bucket_of_id(name, retired=True):
        return Identified((name,))
    if user_of_factor(name):
        return Identified(factor=find_factor(context, name))
    if (at := time_of_request(name)) is not None:
        return _of_request(context, name, at)
    if decisions := find_decisions(context, name):
        return Identified(decisions=decisions)
    if known := _of_dispatch(context, name) or _of_reference(context, name) or _of_webhook(context, name):
        return Identified((known,))
    return _of_days(context, name, days) if REFERENCE.fullmatch(name) else Identified()


def _of_days(context: Context, name: str, days: int) -> Identified:
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
    """Look through the ledger from a time to another, and through a span of each bucket's events."""
    identifiers, complete = context.store.history.verifications_with(member, value, spans)
    from_ledger = True
    try:
        identifiers = (
            *identifiers,
            *context.ledger.verifications.verifications_with(member, value, since, until, MOST),
        )
    except LedgerUnavailableError:
        from_ledger = False
    return Identified(tuple(dict.fromkeys(identifiers))[:MOST], complete=complete, from_ledger=from_ledger)


def _of_webhook(context: Context, name: str) -> str | None:
    return context.ledger.webhook_outbox.verification_of(name) if name.startswith("wh_") else None


def _of_dispatch(context: Context, dispatch_id: str) -> str | None:
    bucket = context.keyring.bucket_of_dispatch(dispatch_id)
    return context.store.dispatches.verification_of(bucket, dispatch_id) if bucket else None


def _of_reference(context: Context, reference: str) -> str | None:
    """Return the verification of a reference that Redis remembers, as it does of gateways with connections."""
    for name, gateway in context.gateways.items():
        if isinstance(gateway, SupportsConnections) and (
            dispatch_id := context.store.references.known(name, (reference,))
        ):
            return _of_dispatch(context, dispatch_id)
    return None


def find_factor(context: Context, factor_id: str) -> FactorHistory | None:
    """Return what happened to an authenticator app; ``None`` when nothing is known of it, or it is none.

    Raises `LedgerUnavailableError`.
    """
    user = user_of_factor(factor_id)
    if user is None:
        return None
    bucket, ledger = context.keyring.bucket(user), context.ledger
    begin = context.store.events.unrecorded_from(bucket)  # first: what is recorded from now on is read twice
    recorded = (
        *ledger.factors.changes_of(factor_id, user),
        *ledger.verifications.events_of([factor_id])[factor_id],
        *context.store.history.events_of(bucket, {factor_id: None}, begin).of(factor_id),
    )
    happened = tuple(sorted({event.id: event for event in recorded}.values(), key=attrgetter("place")))
    application = next((event.member("application") for event in happened if event.member("application")), "")
    return FactorHistory(factor_id, application, happened) if happened else None
