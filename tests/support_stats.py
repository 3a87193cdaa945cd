"""Stats for tests: traffic of a past hour, as the recorder would have brought it into the ledger."""

from collections.abc import Iterable, Iterator

from support_ledger_events import event, started

from otp_service.domain.audit import Event
from otp_service.domain.guard import HOUR
from otp_service.domain.stats import StatsCount, StatsKey
from otp_service.ledger.ledger import Ledger

AT = 480_000 * HOUR
"""An hour of October 2024: nothing in it changes any more."""
PRICE = 2_500_000


def story(name: str, *, at: int = AT, end: str = "approved", sent: bool = True, **about: str) -> list[Event]:
    """Return what happened to a verification: its message, and how it ended; not at all where ``end`` is empty."""
    members = {"country": "PK", "channel": "sms", "application": "shop", "purpose": "login", **about}
    begin = started(name, at=at, guard="nc92300.bu3600 ", attempt="n|b||||||300000|92300")
    told = [Event(begin.id, at, begin.type, {**begin.fields, **members})]
    if sent:
        call = {**members, "gateway": "primary", "slot": "d1.1", "reason": ""}
        told.append(event("delivery.sent", name, at + 1500, **call, cost=str(PRICE)))
        told.append(event("delivery.delivered", name, at + 4000, **call))
    if end:
        told.append(event(f"verification.{end}", name, at + 20_000, **members, reason=""))
    return told


def stories(count: int, name: str, **about: object) -> Iterator[Event]:
    """Yield what happened to several verifications alike."""
    for number in range(count):
        yield from story(f"vf_{name}_{number}", **about)


def record(ledger: Ledger, *batches: Iterable[Event]) -> None:
    """Record what happened."""
    for batch in batches:
        ledger.verifications.record(list(batch))


def refuse(ledger: Ledger, times: int, rule: str = "number.sends", what: str = "refused.start", at: int = AT) -> None:
    """Count refusals, as of a stream's next entry."""
    before = ledger.stats.position("00")
    key = StatsKey(at, "shop", "login", "PK", "", "", "", "", what, rule)
    assert ledger.stats.add("00", before, f"{before}1", {key: StatsCount(times, 0)})
