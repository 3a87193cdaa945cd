"""Find what became of a number's verifications, for support: never a code, never the number."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from otp_service.core.story import Explanation, Story, Surroundings, explain
from otp_service.domain.numbers import Destination
from otp_service.domain.verification import Delivery, DeliveryStatus, GatewayHealth, Verification
from otp_service.gateways.base import HoldsConnections, ReportsReceipts
from otp_service.services.context import Context
from otp_service.services.retell import retold
from otp_service.store.events import Past, Started

_ARRIVED = frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.SENT})


@dataclass(frozen=True, slots=True)
class Case:
    """One verification, and why its code did or did not arrive."""

    story: Story
    explanation: Explanation
    route: Mapping[str, GatewayHealth]
    """The gateways that may carry its last message, and how they are."""


@dataclass(frozen=True, slots=True)
class Found:
    """The last verifications of a number."""

    cases: tuple[Case, ...]
    """Newest first."""
    complete: bool
    """Whether all events were read that are about them."""
    reporting: frozenset[str]
    """Gateways that are asked to report what becomes of a message."""


def find(context: Context, to: Destination) -> Found:
    """Return the last verifications of a number, of all applications.

    What has a record is read from it; of the others the event stream tells. Nothing is written.
    """
    history, keyring = context.store.history, context.keyring
    pseudonym = keyring.pseudonym(to.e164)
    bucket = keyring.bucket(pseudonym)
    recent = history.recent(bucket, pseudonym)
    records = {one.id: context.store.verifications.read(bucket, one.id) for one in recent}
    past = history.past(bucket, _to_look_up(recent, records))
    stories = [_story(one, records[one.id], past, to.mask) for one in recent]
    health = context.store.health.of(tuple(context.gateways))
    worker = context.store.server.worker_age() is not None
    return Found(
        cases=tuple(_case(context, story, health, worker=worker) for story in stories),
        complete=past.complete,
        reporting=frozenset(_reporting(context)),
    )


def _to_look_up(recent: Iterable[Started], records: Mapping[str, Verification | None]) -> dict[str, int]:
    """Return from when on events are needed: all without a record; with one, what followed a call that failed."""
    since = {}
    for one in recent:
        record = records[one.id]
        if record is None:
            since[one.id] = one.at
        elif record.deliveries and record.deliveries[-1].status not in _ARRIVED:
            since[one.id] = record.deliveries[-1].at
    return since


def _story(started: Started, record: Verification | None, past: Past, mask: str) -> Story:
    told = retold(started, past, mask)
    if record is None:
        return told
    return Story(
        id=record.id,
        application=record.application,
        purpose=record.purpose.name,
        country=record.country,
        mask=mask,
        started=record.created,
        status=record.status,
        checks=record.checks,
        deliveries=record.deliveries,
        given_up=told.given_up,
    )


def _case(context: Context, story: Story, health: Mapping[str, GatewayHealth], *, worker: bool) -> Case:
    last: Delivery | None = story.deliveries[-1] if story.deliveries else None
    names = context.routes.gateways_for(story.country, story.purpose, last.channel) if last else ()
    route = {name: health[name] for name in names}
    return Case(story, explain(story, Surroundings(worker, route)), route)


def _reporting(context: Context) -> Iterable[str]:
    """Yield the gateways that report: over HTTP where they can reach us, or over a connection of their own."""
    for name, gateway in context.gateways.items():
        over_http = isinstance(gateway, ReportsReceipts) and context.public_url is not None
        if over_http or isinstance(gateway, HoldsConnections):
            yield name
