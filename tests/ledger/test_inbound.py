"""The ledger's memory of what people wrote back, in either database."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from otp_service.domain.consents import Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.inbound import Meaning
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
    (kept,) = ledger.subjects.export(NUMBER, None).inbound

    assert (kept["application"], kept["gateway"], kept["meaning"]) == ("shop", "primary", "stop")
    assert kept["received"] > 0


def test_of_many_at_once_one_is_new(ledger):
    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(lambda _: record(ledger), range(8))) == [False] * 7 + [True]


HOLDER = frozenset({SuppressionSource.INBOUND, SuppressionSource.GATEWAY})
STOP = Suppression("n" * 22, "shop", SuppressionScope.ALL, SuppressionSource.INBOUND)


def test_a_start_lifts_what_the_holder_said_once(ledger):
    ledger.suppressions.add([STOP])
    first = ledger.inbound.record_start("one", "first", replace(STOP, lifted=True), HOLDER)
    ledger.suppressions.add([STOP])
    again = ledger.inbound.record_start("one", "first", replace(STOP, lifted=True), HOLDER)

    assert (first[0], first[1].new) == (True, 1)
    assert again == (False, None)
    assert ledger.suppressions.in_force(*STOP.key), "what was said after it stays"


def test_a_start_lifts_nothing_that_somebody_else_said(ledger):
    ledger.suppressions.add([STOP, replace(STOP, source=SuppressionSource.API)])

    assert ledger.inbound.record_start("one", "first", replace(STOP, lifted=True), HOLDER) == (True, None)
    assert len(ledger.suppressions.in_force(*STOP.key)) == 2


def test_what_somebody_else_says_at_the_same_moment_is_not_lifted(ledger):
    for turn in range(20):
        mine = replace(STOP, pseudonym=f"{turn:022d}")
        ledger.suppressions.add([mine])
        with ThreadPoolExecutor(2) as pool:
            start = pool.submit(ledger.inbound.record_start, str(turn), "first", replace(mine, lifted=True), HOLDER)
            pool.submit(ledger.suppressions.add, [replace(mine, source=SuppressionSource.API)]).result()
            start.result()

        assert SuppressionSource.API in {one.source for one in ledger.suppressions.in_force(*mine.key)}
