"""A gateway says that its provider sends nothing to a number whose holder opted out there: ours are kept back, too."""

from dataclasses import replace

import pytest
from support_caller import Caller
from support_events import events_of, record_events
from support_installation import NUMBER, World
from support_outbox import deliver_all, dispatched, jobs_of

from otp_service.bootstrap import Installation
from otp_service.domain.consents import Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import LedgerUnavailableError, SuppressedError
from otp_service.gateways.base import FailureKind, InboundMessage, Receipt
from otp_service.ledger.consents import Suppressions
from otp_service.ledger.verifications import VerificationLedger
from otp_service.services.consents import add_suppressions
from otp_service.services.inbound import handle_message
from otp_service.services.receipts import ReceiptRecorder, link_reference, record_receipt
from otp_service.store import keys

OPTED_OUT = {"kind": "sandbox", "fail": "destination", "opted_out": True}


@pytest.fixture
def installation(world: World) -> Installation:
    return world.install(gateways={"sandbox": OPTED_OUT})


@pytest.fixture
def shop(installation: Installation) -> Caller:
    return Caller(installation)


def entries(shop: Caller) -> list[tuple[str, str, str, str]]:
    """Return what is recorded of the number when all that happened is."""
    record_events(shop.context)
    found = shop.context.ledger.suppressions.of(shop.context.keyring.pseudonym(NUMBER))
    return [(one.application, one.scope, one.source, one.reason) for one in found]


def test_an_opt_out_that_a_gateway_answers_is_respected_from_then_on(shop):
    one = shop.start()
    deliver_all(shop.context)

    assert entries(shop) == [("shop", "all", "gateway", "opted out at sandbox")]
    (delivery,) = shop.read(one).verification.deliveries
    assert (delivery.status, delivery.reason) == (DeliveryStatus.FAILED, "destination sandbox")
    with pytest.raises(SuppressedError):
        shop.start()


def test_it_is_for_the_application_whose_message_it_was(installation, shop):
    shop.start()
    deliver_all(shop.context)

    assert Caller(installation, "bank").start()


def test_another_failure_keeps_nothing_back(world):
    shop = Caller(world.install(gateways={"sandbox": {**OPTED_OUT, "opted_out": False}}))
    shop.start()
    deliver_all(shop.context)

    assert entries(shop) == []
    assert shop.start()


def test_it_is_not_lost_while_the_ledger_is_away(shop, monkeypatch):
    def away(*_):
        raise LedgerUnavailableError("away")

    one = shop.start()
    with monkeypatch.context() as world:
        world.setattr(Suppressions, "add", away)
        world.setattr(VerificationLedger, "record", away)
        deliver_all(shop.context)
        with pytest.raises(LedgerUnavailableError):
            record_events(shop.context)

    (delivery,) = shop.read(one).verification.deliveries
    assert delivery.status is DeliveryStatus.FAILED
    assert jobs_of(shop.context) == []
    assert entries(shop) == [("shop", "all", "gateway", "opted out at sandbox")]


def test_what_was_taken_back_since_stays_so_when_it_is_recorded_late(shop):
    shop.start()
    deliver_all(shop.context)
    taken = events_of(shop.context)
    pseudonym = shop.context.keyring.pseudonym(NUMBER)
    stop = Suppression(pseudonym, "shop", SuppressionScope.ALL, SuppressionSource.INBOUND)
    for entry in (stop, replace(stop, lifted=True)):
        add_suppressions(shop.context, (entry,))
    for batch in taken:
        shop.context.ledger.verifications.record(batch.events)

    assert [one[2] for one in entries(shop)] == ["inbound", "inbound"]
    assert shop.start()


def test_what_was_taken_back_before_is_said_anew(shop):
    pseudonym = shop.context.keyring.pseudonym(NUMBER)
    stop = Suppression(pseudonym, "shop", SuppressionScope.ALL, SuppressionSource.GATEWAY)
    for entry in (stop, replace(stop, lifted=True)):
        add_suppressions(shop.context, (entry,))
    shop.start()
    deliver_all(shop.context)

    assert len(entries(shop)) == 3
    with pytest.raises(SuppressedError):
        shop.start()


def test_it_does_not_soften_what_an_operator_said(shop):
    shop.start()
    pseudonym = shop.context.keyring.pseudonym(NUMBER)
    deliver_all(shop.context)
    add_suppressions(shop.context, (Suppression(pseudonym, "shop", SuppressionScope.ALL, SuppressionSource.OPERATOR),))

    assert [one[2] for one in entries(shop)] == ["operator", "gateway"]
    handle_message(shop.context, "sandbox", InboundMessage("1", NUMBER, "START"))
    with pytest.raises(SuppressedError):
        shop.start()


def test_an_opt_out_in_a_receipt_is_respected_once(world):
    shop = Caller(world.install())
    shop.start()
    (job,) = jobs_of(shop.context)
    made = dispatched(shop.context, job, "sandbox")
    said = Receipt(DeliveryStatus.FAILED, "failed", "destination 9", FailureKind.DESTINATION, opted_out=True)
    for _ in range(2):
        assert record_receipt(shop.context, "sandbox", made.dispatch_id, said)

    assert entries(shop) == [("shop", "all", "gateway", "opted out at sandbox")]
    with pytest.raises(SuppressedError):
        shop.start()


def test_an_opt_out_in_a_second_receipt_is_respected_too(world):
    shop = Caller(world.install())
    shop.start()
    (job,) = jobs_of(shop.context)
    made = dispatched(shop.context, job, "sandbox")
    for opted_out in (False, True):
        said = Receipt(DeliveryStatus.FAILED, "failed", None, FailureKind.DESTINATION, opted_out=opted_out)
        record_receipt(shop.context, "sandbox", made.dispatch_id, said)

    assert entries(shop) == [("shop", "all", "gateway", "opted out at sandbox")]


def test_what_was_taken_back_after_the_start_and_before_the_opt_out_is_said_anew(shop):
    shop.start()
    (job,) = jobs_of(shop.context)
    made = dispatched(shop.context, job, "sandbox")
    pseudonym = shop.context.keyring.pseudonym(NUMBER)
    stop = Suppression(pseudonym, "shop", SuppressionScope.ALL, SuppressionSource.INBOUND)
    for entry in (stop, replace(stop, lifted=True)):
        add_suppressions(shop.context, (entry,))
    said = Receipt(DeliveryStatus.FAILED, "failed", None, FailureKind.DESTINATION, opted_out=True)
    record_receipt(shop.context, "sandbox", made.dispatch_id, said)

    assert entries(shop)[-1][2] == "gateway"


def test_an_opt_out_that_is_told_while_the_mirror_is_built_anew_is_not_taken_for_older(shop, world):
    pseudonym = shop.context.keyring.pseudonym(NUMBER)
    stop = Suppression(pseudonym, "shop", SuppressionScope.ALL, SuppressionSource.INBOUND)
    for entry in (stop, replace(stop, lifted=True)):
        add_suppressions(shop.context, (entry,))
    shop.start()
    (job,) = jobs_of(shop.context)
    made = dispatched(shop.context, job, "sandbox")
    world.client.delete(keys.mirror("00"))
    said = Receipt(DeliveryStatus.FAILED, "failed", None, FailureKind.DESTINATION, opted_out=True)
    record_receipt(shop.context, "sandbox", made.dispatch_id, said)

    assert entries(shop)[-1][2] == "gateway"


def test_an_opt_out_in_a_receipt_that_overtook_its_answer_is_not_forgotten(world):
    shop = Caller(world.install())
    shop.start()
    (job,) = jobs_of(shop.context)
    made = dispatched(shop.context, job, "sandbox")
    said = Receipt(DeliveryStatus.FAILED, "REJECTD", None, FailureKind.DESTINATION, opted_out=True)
    assert ReceiptRecorder(shop.context, "sandbox").accept(("id-1",), said)
    assert entries(shop) == []
    link_reference(shop.context, "sandbox", "id-1", made.dispatch_id)

    assert len(entries(shop)) == 1
