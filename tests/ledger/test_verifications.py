"""The event stream in the ledger: once, however often and in whichever order it is read."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import permutations

import pytest
from sqlalchemy import select
from support_ledger_events import EVIDENCE, NUMBER, agreed, anew, event, mirrored, started

from otp_service.clock import now
from otp_service.domain.consents import Consent
from otp_service.errors import ConsentOutdatedError
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.schema import events
from otp_service.ledger.verifications import RecordedVerification


def _past(ledger: Ledger) -> tuple[RecordedVerification, ...]:
    return ledger.subjects.export(NUMBER, None).verifications


STORY = (
    started(),
    event("delivery.sent", at=1100, gateway="first", channel="sms", slot="d1.1", cost="2500000"),
    event("verification.approved", at=1200, reason=""),
)


@pytest.mark.parametrize("order", list(permutations(STORY)))
def test_what_happened_is_recorded_in_whichever_order_it_comes(ledger, order):
    for one in order:
        ledger.verifications.record([one])

    (past,) = _past(ledger)
    assert (past.id, past.application, past.purpose, past.country) == ("vf_1", "shop", "login", "PK")
    assert (past.started, past.status, past.ended) == (1000, "approved", 1200)
    assert [one["type"] for one in past.events] == [one.type for one in STORY]
    assert past.events[1]["gateway"] == "first"


def test_what_is_read_twice_is_there_once(ledger):
    first = ledger.verifications.record(STORY)
    again = ledger.verifications.record([*STORY, event("check.failed", at=1150)])

    assert (first.new, again.new) == (3, 1)
    assert len(_past(ledger)[0].events) == 4


@pytest.mark.parametrize("at_once", [True, False], ids=["in one batch", "later"])
def test_what_ended_stays_as_it_ended_when_a_restored_redis_ends_it_once_more(ledger, at_once):
    again = event("verification.expired", at=1900, reason="expired")
    for batch in [[*STORY, again]] if at_once else [STORY, [again]]:
        ledger.verifications.record(batch)

    (past,) = _past(ledger)
    assert (past.status, past.ended) == ("approved", 1200)
    assert [one["type"] for one in past.events][-1] == "verification.expired"


def test_nothing_of_a_batch_is_recorded_when_a_part_of_it_cannot_be(ledger):
    broken = agreed("vf_2", place=0)
    fields = {**broken.fields, "consent": "{}"}
    with pytest.raises(TypeError):
        ledger.verifications.record([STORY[0], type(broken)(broken.id, broken.at, broken.type, fields)])

    assert _past(ledger) == ()


def test_details_hold_neither_the_number_nor_the_consent(ledger):
    ledger.verifications.record([started(), agreed()])

    assert details_of(ledger) == [{"channel": "sms"}]


@pytest.mark.parametrize("what", ["record", "keep"])
def test_details_hold_nothing_of_what_a_replay_reads(ledger, what):
    getattr(ledger.verifications, what)(
        [
            started(attempt="number|block|network|||context|home|2500000"),
            event("verification.resent", at=1100, price="2500000", falls_back_from="1"),
            event("check.refused", at=1200, rule="number.guesses", reason="number_locked"),
        ]
    )

    for details in details_of(ledger):
        assert not {"attempt", "price", "rule"} & details.keys()


def details_of(ledger) -> list[dict[str, str]]:
    with ledger.database.read() as connection:
        return [json.loads(text) for text in connection.execute(select(events.c.details)).scalars()]


def test_a_consent_that_came_with_a_start_is_recorded_with_its_evidence(ledger):
    recorded = ledger.verifications.record([agreed(place=0)])
    (entry,) = ledger.consents.of(NUMBER, "shop", "login")

    assert recorded.place == ledger.mirror_source.head()
    assert entry.evidence == EVIDENCE
    assert mirrored(ledger).consents == {("shop", "login"): (True, 0, EVIDENCE.agreed_at)}


def word(ledger) -> tuple[bool, int]:
    """Return the last word on codes of the shop, and the place from which on it counts."""
    return mirrored(ledger).consents["shop", "login"][:2]


def said(ledger) -> int:
    """Return when it was said, as far as what is newer has to be later."""
    return mirrored(ledger).consents["shop", "login"][2]


def test_a_withdrawal_is_the_later_one_although_the_consent_was_recorded_after_it(ledger):
    start = agreed(place=ledger.mirror_source.head().sequence)
    _, place = ledger.consents.add(Consent(NUMBER, "shop", "login", None))
    ledger.verifications.record([start])

    assert [one.withdrawn for one in ledger.consents.of(NUMBER, "shop", "login")] == [False, True]
    assert word(ledger) == (False, place.sequence)


def test_a_consent_given_after_a_withdrawal_counts_although_an_older_one_is_recorded_late(ledger):
    old = agreed("vf_1", place=0)
    _, place = ledger.consents.add(Consent(NUMBER, "shop", "login", None))
    new = agreed("vf_2", evidence=anew(), place=place.sequence)
    ledger.verifications.record([new])
    ledger.verifications.record([old])

    assert word(ledger) == (True, place.sequence)


def test_a_consent_that_is_sent_with_each_start_is_recorded_once(ledger):
    every = [agreed(f"vf_{i}") for i in range(3)]
    first, later = ledger.verifications.record(every[:2]), ledger.verifications.record(every[2:])

    assert (first.place, later.place) == (ledger.mirror_source.head(), None)
    assert len(ledger.consents.of(NUMBER, "shop", "login")) == 1


def test_a_consent_that_is_older_than_a_withdrawal_before_its_start_is_not_recorded(ledger):
    """No start brings one, but to a mirror that lacks the withdrawal."""
    _, place = ledger.consents.add(Consent(NUMBER, "shop", "login", None))
    recorded = ledger.verifications.record([agreed(place=place.sequence)])

    assert (recorded.place, word(ledger)) == (None, (False, place.sequence))


def test_a_withdrawal_is_newer_than_a_consent_by_a_clock_that_is_ahead(ledger):
    ahead = replace(EVIDENCE, agreed_at=now() + 200_000)
    late = agreed(evidence=ahead)
    ledger.consents.add(Consent(NUMBER, "shop", "login", None))
    ledger.verifications.record([late])
    assert (word(ledger)[0], said(ledger)) == (False, ahead.agreed_at)

    with pytest.raises(ConsentOutdatedError):
        ledger.consents.add(Consent(NUMBER, "shop", "login", ahead))
    ledger.consents.add(Consent(NUMBER, "shop", "login", replace(ahead, agreed_at=ahead.agreed_at + 1)))
    withdrawn, _ = ledger.consents.add(Consent(NUMBER, "shop", "login", None))
    assert withdrawn.stated_at == said(ledger) == ahead.agreed_at + 1


def test_the_application_whose_message_a_number_got_last_is_known(ledger):
    ledger.verifications.record([
        started("vf_1", 1000), event("delivery.sent", "vf_1", 1100, gateway="first"),
        event("verification.started", "vf_2", 2000, application="bank", pseudonym=NUMBER, ledger="0"),
        event("delivery.sent", "vf_2", 2100, application="bank", gateway="first"),
        started("vf_3", 3000), event("delivery.failed", "vf_3", 3100, gateway="first"),
        started("vf_4", 4000), event("delivery.sent", "vf_4", 4100, gateway="firs_"),
        started("vf_5", 5000), event("delivery.sent", "vf_5", 5100, gateway="FIRST"),
    ])  # fmt: skip

    assert ledger.verifications.last_sender(NUMBER, "first", 0) == ("bank", 2000)
    assert ledger.verifications.last_sender(NUMBER, "firs_", 0) == ("shop", 4000)
    assert ledger.verifications.last_sender(NUMBER, "first", 2001) is None
    assert ledger.verifications.last_sender("x" * 22, "first", 0) is None


def test_a_consent_of_a_start_that_a_restored_ledger_has_not_come_to_yet_ends_before_what_follows(ledger):
    """The start saw a later state of the ledger than this one, which is a copy."""
    ledger.verifications.record([agreed(place=1000)])
    _, place = ledger.consents.add(Consent(NUMBER, "shop", "login", None))

    assert word(ledger) == (False, place.sequence)


def test_a_consent_that_nobody_can_place_after_a_restore_wins_over_no_withdrawal(ledger):
    _, place = ledger.consents.add(Consent(NUMBER, "shop", "login", None))
    ledger.verifications.record([agreed(place=1000)])

    assert word(ledger) == (False, place.sequence)


def test_an_erasure_and_a_recorder_at_once_leave_no_address(ledger):
    """Whichever is first, the other one sees it."""
    for turn in range(20):
        number = f"{turn:022d}"
        start = agreed(f"vf_{turn}", number=number, place=ledger.mirror_source.head().sequence)
        with ThreadPoolExecutor(2) as pool:
            recorded = pool.submit(ledger.verifications.record, [start])
            pool.submit(ledger.subjects.erase, number, "shop").result()
            recorded.result()

        assert ledger.consents.of(number, "shop", "login")[0].evidence.address_prefix == ""


@pytest.mark.parametrize(("erased_for", "address"), [("shop", ""), (None, ""), ("bank", "203.0.113.0/24")])
def test_an_erasure_before_a_consent_is_recorded_takes_the_address_of_its_own_application_alone(
    ledger, erased_for, address
):
    ledger.subjects.erase(NUMBER, erased_for)
    ledger.verifications.record([agreed()])

    assert ledger.consents.of(NUMBER, "shop", "login")[0].evidence.address_prefix == address


def test_a_verification_that_nobody_ends_expires(ledger):
    ledger.verifications.record([started("vf_1", expires="2000"), started("vf_2", expires=str(2**45)), started("vf_3")])
    ledger.verifications.record([event("verification.canceled", "vf_1", 1500)])
    ledger.verifications.record([started("vf_4", expires="2000")])

    assert {past.id: (past.status, past.ended) for past in _past(ledger)} == {
        "vf_1": ("canceled", 1500), "vf_2": ("pending", 0), "vf_3": ("pending", 0), "vf_4": ("expired", 2000),
    }  # fmt: skip


def test_an_event_that_is_kept_as_it_is_keeps_whose_it_was(ledger):
    """It is the last place where that is."""
    ledger.verifications.keep([agreed()])
    with ledger.database.read() as connection:
        (details,) = connection.execute(select(events.c.details)).scalars()

    assert json.loads(details)["pseudonym"] == NUMBER
    assert "text_sha256" in json.loads(details)["consent"]
