"""The recorder of a worker: what happened gets into the ledger, whatever is away meanwhile."""

from dataclasses import replace

import pytest
from sqlalchemy import select
from support_caller import Caller
from support_events import record_events
from support_installation import NUMBER, World
from support_ledger_events import EVIDENCE
from support_service import eventually

from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.schema import events, verifications
from otp_service.ledger.verifications import VerificationLedger
from otp_service.store import keys
from otp_service.telemetry import metrics
from otp_service.worker.recorder import Recorder

OPEN = {"purposes": ["login"], "countries": ["PK"], "region": "PK", "client_ip": "none"}


@pytest.fixture
def shop(world: World) -> Caller:
    return Caller(world.install(applications={"shop": {**OPEN, "consent": "required"}}))


@pytest.fixture
def recorder(shop: Caller):
    running = Recorder(shop.context, "recorder", 1.0, 0.2)
    running.start()
    yield running
    running.stop()


def held(shop: Caller):
    return shop.context.ledger.subjects.export(shop.context.keyring.pseudonym(NUMBER), "shop")


def test_what_happened_gets_into_the_ledger(shop, recorder):
    one = shop.start(consent=EVIDENCE)
    shop.cancel(one)
    (past,) = eventually(lambda: [p for p in held(shop).verifications if p.status == "canceled"])

    assert (past.id, len(past.events)) == (one, 2)
    assert eventually(lambda: shop.context.store.events.unrecorded() == 0)


def test_what_got_into_the_ledger_is_counted_once_by_application_country_and_event(shop, recorder):
    def counted(event):
        labels = {"application": "shop", "country": "PK", "event": event}
        return metrics.REGISTRY.get_sample_value("otp_service_events_recorded_total", labels) or 0

    before = counted("verification.canceled"), counted("verification.started")
    shop.cancel(shop.start(consent=EVIDENCE))
    eventually(lambda: counted("verification.canceled") > before[0])

    assert (counted("verification.canceled"), counted("verification.started")) == (before[0] + 1, before[1] + 1)


def test_a_consent_that_came_with_a_start_is_enough_for_the_next_one(shop, recorder, world):
    shop.start(consent=EVIDENCE)
    to = subject_key(shop.context.keyring, parse_destination(NUMBER, None))
    number = keys.mirrored(to.bucket, to.pseudonym)
    eventually(lambda: world.client.hexists(number, "c:shop:login"))

    assert shop.start()
    (kept,) = shop.context.ledger.consents.of(to.pseudonym, "shop", "login")
    assert kept.evidence == replace(EVIDENCE, address_prefix=""), "addresses do not count there"


def test_what_waits_is_counted_while_the_database_is_away(shop, recorder, monkeypatch):
    def away(*_):
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(VerificationLedger, "record", away)
    shop.cancel(shop.start(consent=EVIDENCE))

    assert eventually(lambda: metrics.REGISTRY.get_sample_value("otp_service_events_unrecorded") >= 2)


def test_what_the_database_did_not_take_is_recorded_when_it_is_back(shop, recorder, monkeypatch):
    def away(*_):
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(VerificationLedger, "record", away)
    one = shop.start(consent=EVIDENCE)
    assert eventually(lambda: shop.context.store.events.unrecorded() == 2)
    monkeypatch.undo()

    assert eventually(lambda: [past.id for past in held(shop).verifications] == [one])


def test_a_defect_in_one_batch_does_not_end_the_recorder(shop, recorder, monkeypatch):
    calls = []
    record = VerificationLedger.record

    def broken(*arguments):
        calls.append(1)
        if len(calls) < 2:
            raise TypeError("a defect")
        return record(*arguments)

    monkeypatch.setattr(VerificationLedger, "record", broken)
    recorder._idle = 0
    one = shop.start(consent=EVIDENCE)

    assert eventually(lambda: [past.id for past in held(shop).verifications] == [one])


def test_a_recorder_that_is_stopped_first_records_what_has_happened(shop):
    ones = {shop.start(f"+92300123456{i}", consent=EVIDENCE) for i in range(5)}
    last = Recorder(shop.context, "last", 1.0, 0.2)
    last.start()
    last.stop()

    assert shop.context.store.events.unrecorded() == 0
    found = {p.id for i in range(5) for p in _past(shop, f"+92300123456{i}")}
    assert found == ones


def _past(shop, to):
    return shop.context.ledger.subjects.export(shop.context.keyring.pseudonym(to), "shop").verifications


def test_an_event_that_cannot_be_understood_is_kept_as_it_is_and_holds_up_no_other(shop, recorder, world):
    broken = {"type": "consent.given", "id": "vf_broken", "consent": "{", "ledger": "0", "pseudonym": "x"}
    recorder._idle = 0
    world.client.xadd(keys.events("00"), broken)
    one = shop.start(consent=EVIDENCE)

    assert eventually(lambda: shop.context.store.events.unrecorded() == 0)
    assert [past.id for past in held(shop).verifications] == [one]
    with shop.context.ledger.database.read() as connection:
        assert connection.execute(select(events.c.type).where(events.c.verification == "vf_broken")).scalars().all()


def test_the_ledger_knows_when_a_code_expires(shop):
    one = shop.read(shop.start(consent=EVIDENCE)).verification
    record_events(shop.context)

    with shop.context.ledger.database.read() as connection:
        kept = connection.execute(select(verifications.c.expires).where(verifications.c.id == one.id)).scalar_one()
    assert kept == one.expires


def test_a_recorder_that_can_take_nothing_can_be_stopped(shop, world):
    world.client.set(keys.events("00"), "no stream")
    stopped = Recorder(shop.context, "last", 1.0, 0.2)
    stopped.start()
    stopped.stop()

    assert not stopped._thread.is_alive()
    world.client.delete(keys.events("00"))
