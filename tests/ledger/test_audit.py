"""The audit chain: whatever is recorded is in it, in the same transaction."""

from support_ledger_events import NUMBER, agreed, event, started

from otp_service.domain.audit import GENESIS
from otp_service.domain.consents import Consent, Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.inbound import Meaning
from otp_service.ledger.ledger import Ledger


def fill(ledger: Ledger) -> None:
    """Record something of every kind."""
    ledger.verifications.record([started(), agreed(), event("delivery.sent", at=1100, gateway="first")])
    ledger.consents.add(Consent(NUMBER, "shop", "login", None))
    ledger.suppressions.add([Suppression(NUMBER, "shop", SuppressionScope.ALL, SuppressionSource.API)])
    ledger.inbound.record("message", NUMBER, "shop", "first", Meaning.STOP)
    ledger.subjects.erase(NUMBER, "shop")


def test_whatever_is_recorded_has_an_entry(ledger: Ledger) -> None:
    fill(ledger)
    links = ledger.audit.links(0, 100)

    assert [one.entry.sequence for one in links] == list(range(1, 9))
    assert {one.entry.table for one in links} == {
        "verifications", "events", "consents", "suppressions", "inbound", "erasures",
    }  # fmt: skip
    assert all(one.digest == one.entry.digest for one in links), "what an erasure took is in no digest"
    assert ledger.audit.head().sequence == 8
    assert not any(ledger.audit.unlinked_rows(0, 10).values())


def test_each_link_is_over_the_one_before(ledger: Ledger) -> None:
    fill(ledger)
    before = GENESIS
    for one in ledger.audit.links(0, 100):
        assert one.link == one.entry.link(before)
        before = one.link

    assert ledger.audit.head().link == before
