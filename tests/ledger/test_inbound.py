"""The ledger's memory of what people wrote back, in either database."""

from concurrent.futures import ThreadPoolExecutor

from otp_service.core.inbound import Meaning
from otp_service.ledger.ledger import Ledger

NUMBER = "n" * 22


def record(ledger: Ledger, name: str = "m1", application: str = "shop", meaning: Meaning = Meaning.STOP) -> bool:
    return ledger.inbound.record(name, NUMBER, application, "primary", meaning)


def test_a_message_is_new_once(ledger):
    assert not ledger.inbound.known("m1")
    assert [record(ledger) for _ in range(3)] == [True, False, False]
    assert ledger.inbound.known("m1")
    assert not ledger.inbound.known("m2")


def test_a_repetition_changes_nothing_of_what_is_kept(ledger):
    record(ledger)
    record(ledger, application="bank", meaning=Meaning.START)
    (kept,) = ledger.people.export(NUMBER, None).inbound

    assert (kept["application"], kept["gateway"], kept["meaning"]) == ("shop", "primary", "stop")
    assert kept["received"] > 0


def test_of_many_at_once_one_is_new(ledger):
    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(lambda _: record(ledger), range(8))) == [False] * 7 + [True]
