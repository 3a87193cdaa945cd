"""Consents and suppressions: never changed, only followed by another; in the order in which they became visible."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import delete, select, update
from support_ledger_events import EVIDENCE, NUMBER, OTHER, event
from support_ledger_events import mirrored as state

from otp_service.domain.consents import (
    EVERY_APPLICATION,
    Consent,
    NumberState,
    Suppression,
    SuppressionScope,
    SuppressionSource,
)
from otp_service.domain.keyring import Keyring
from otp_service.ledger.audit import SignedHead
from otp_service.ledger.consents import LIFT_KNOWN
from otp_service.ledger.database import LedgerDefectError
from otp_service.ledger.retention import Purge
from otp_service.ledger.schema import AUDIT, consents, suppressions

ALL, MARKETING, FROZEN = SuppressionScope.ALL, SuppressionScope.MARKETING_ONLY, SuppressionScope.FROZEN


def entry(number=NUMBER, application="shop", scope=ALL, **members):
    return Suppression(number, application, scope, SuppressionSource.API, **members)


def test_a_suppression_is_kept_back_until_it_is_lifted(ledger):
    ledger.suppressions.add([entry(reason="by phone", until=5000)])
    assert state(ledger).suppressed == {"shop": 5000}

    ledger.suppressions.add([entry(lifted=True)])
    assert state(ledger).suppressed == {}
    assert [(one.lifted, one.reason) for one in ledger.suppressions.of(NUMBER)] == [(False, "by phone"), (True, "")]


def test_a_list_for_marketing_neither_keeps_codes_back_nor_lifts_what_does(ledger):
    ledger.suppressions.add([entry(), entry(scope=MARKETING, application=EVERY_APPLICATION)])
    ledger.suppressions.add([entry(scope=MARKETING, lifted=True)])

    assert state(ledger).suppressed == {"shop": None}
    assert state(ledger, OTHER).suppressed == {}


def test_a_freeze_is_told_apart_and_lifted_by_its_own_scope_alone(ledger):
    ledger.suppressions.add([entry(scope=FROZEN), entry(scope=FROZEN, application=EVERY_APPLICATION), entry()])
    ledger.suppressions.add([entry(lifted=True)])
    assert state(ledger) == NumberState(NUMBER, {}, {}, frozenset({"shop", EVERY_APPLICATION}))

    ledger.suppressions.add([entry(scope=FROZEN, lifted=True)])
    assert state(ledger).frozen == {EVERY_APPLICATION}


def test_where_a_freeze_was_lifted_is_told_for_two_days_and_what_lifts_nothing_is_not(ledger):
    freeze, lift = entry(scope=FROZEN), entry(scope=FROZEN, lifted=True)
    ledger.suppressions.add([lift, freeze, lift, lift, freeze])
    assert (state(ledger).lifted, state(ledger).frozen) == ({"shop": 3}, {"shop"})
    ledger.suppressions.add([entry(scope=FROZEN, application=EVERY_APPLICATION), lift])
    ledger.suppressions.add([entry(scope=FROZEN, application=EVERY_APPLICATION, lifted=True)])
    assert state(ledger).lifted == {"shop": 7, EVERY_APPLICATION: 8}
    assert state(ledger, OTHER).lifted == {}

    with time_machine.travel(datetime.now(UTC) + timedelta(milliseconds=LIFT_KNOWN + 1)):
        assert state(ledger) == NumberState(NUMBER, {}, {})


def test_where_a_number_was_erased_is_told_for_two_days(ledger):
    ledger.subjects.erase(NUMBER, "shop")
    ledger.subjects.erase(NUMBER, None)
    ledger.subjects.erase(NUMBER, "shop")

    assert state(ledger).erased == {"shop": 3, EVERY_APPLICATION: 2}
    assert (state(ledger, OTHER).erased, ledger.mirror_source.count()) == ({}, 1)
    with time_machine.travel(datetime.now(UTC) + timedelta(milliseconds=LIFT_KNOWN + 1)):
        assert state(ledger) == NumberState(NUMBER, {}, {})


def test_an_erasure_is_among_what_changed_and_among_all_numbers(ledger):
    place, steps = ledger.mirror_source.head(), []
    ledger.subjects.erase(NUMBER, "shop")
    ledger.suppressions.add([entry(OTHER)])
    ledger.subjects.erase(OTHER, "shop")
    while (changes := ledger.mirror_source.since(place, 1)) and changes.numbers:
        steps.append([one.pseudonym for one in changes.numbers])
        place = changes.reached
        assert ledger.mirror_source.has(place)

    assert steps == [[NUMBER], [OTHER], [OTHER]]
    assert place == ledger.mirror_source.head()
    assert state(ledger).erased == {"shop": 1}


def test_a_freeze_is_among_what_changed_and_among_all_numbers(ledger):
    """So that it is caught up with, and mirrored anew, where Redis did not hear of it."""
    begin = ledger.mirror_source.head()
    ledger.suppressions.add([entry(scope=FROZEN)])
    head = ledger.mirror_source.head()

    for changes in (ledger.mirror_source.since(begin, 10), ledger.mirror_source.all_after("", 10, head)):
        assert [(one.pseudonym, one.frozen) for one in changes.numbers] == [(NUMBER, {"shop"})]


def test_an_application_sees_its_own_entries_and_the_operators(ledger):
    ledger.suppressions.add([entry(), entry(application="bank"), entry(application=EVERY_APPLICATION)])

    assert {one.application for one in ledger.suppressions.of(NUMBER, "shop")} == {"shop", EVERY_APPLICATION}


def test_a_consent_is_followed_by_its_withdrawal(ledger):
    given, first = ledger.consents.add(Consent(NUMBER, "shop", "login", EVIDENCE))
    _, second = ledger.consents.add(Consent(NUMBER, "shop", "login", None))

    assert given.recorded > 0
    assert second.sequence == first.sequence + 1
    assert [one.evidence for one in ledger.consents.of(NUMBER, "shop", "login")] == [EVIDENCE, None]
    assert ledger.consents.of(NUMBER, "bank", "login") == ()


@pytest.mark.parametrize("table", [consents, suppressions])
def test_an_entry_cannot_be_changed_whoever_writes_sql(ledger, table):
    ledger.consents.add(Consent(NUMBER, "shop", "login", EVIDENCE))
    ledger.suppressions.add([entry()])
    changes = {"recorded": 1, "pseudonym": OTHER, "application": "bank"}

    for name, value in changes.items():
        with pytest.raises(LedgerDefectError, match="never changed"), ledger.database.write() as connection:
            connection.execute(update(table).values({name: value}))


@pytest.mark.parametrize(
    ("table", "name"),
    [(consents, "address_prefix"), (consents, "source"), (consents, "text_version"), (suppressions, "reason")],
    ids=str,
)
def test_what_an_erasure_takes_may_become_empty_and_not_be_changed(ledger, table, name):
    ledger.consents.add(Consent(NUMBER, "shop", "login", EVIDENCE))
    ledger.suppressions.add([entry(reason="by phone")])
    with pytest.raises(LedgerDefectError, match="never changed"), ledger.database.write() as connection:
        connection.execute(update(table).values({name: "198.51.100.0/24"}))
    with ledger.database.write() as connection:
        connection.execute(update(table).values({name: ""}))
        assert connection.execute(select(table.c[name])).scalars().all() == [""]


def test_changes_are_told_in_their_order_and_in_pieces(ledger):
    numbers, place = [f"{i:022d}" for i in range(7)], ledger.mirror_source.head()
    for one in numbers:
        ledger.suppressions.add([entry(one)])
    ledger.suppressions.add([entry("m" * 22, scope=MARKETING)])
    seen = []
    while True:
        changes = ledger.mirror_source.since(place, 3)
        seen += [one.pseudonym for one in changes.numbers]
        if changes.reached == place:
            break
        place = changes.reached

    assert seen == numbers
    assert place == ledger.mirror_source.head()
    assert place.sequence == 8


def test_all_numbers_that_the_mirror_has_to_know_are_told_in_pieces(ledger):
    for one in ("a", "c", "b"):
        ledger.suppressions.add([entry(one * 22)])
    ledger.consents.add(Consent("d" * 22, "shop", "login", EVIDENCE))
    ledger.suppressions.add([entry("e" * 22, scope=MARKETING)])
    first = ledger.mirror_source.all_after("", 3, ledger.mirror_source.head())
    rest = ledger.mirror_source.all_after(first.numbers[-1].pseudonym, 3, ledger.mirror_source.head())

    assert [one.pseudonym[0] for one in (*first.numbers, *rest.numbers)] == ["a", "b", "c", "d"]


def test_whoever_reads_up_to_a_place_has_seen_all_changes_before_it(ledger):
    """A place is given out under a lock: otherwise a reader could see 2, note it, and never hear of 1."""
    stop, seen = threading.Event(), []

    begin = ledger.mirror_source.head()

    def follow():
        place = begin
        while not stop.is_set() or place.sequence < ledger.mirror_source.head().sequence:
            changes = ledger.mirror_source.since(place, 50)
            seen.extend(one.pseudonym for one in changes.numbers)
            place = changes.reached

    follower = threading.Thread(target=follow)
    follower.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: ledger.suppressions.add([entry(f"{i:022d}")]), range(60)))
    stop.set()
    follower.join()

    assert sorted(seen) == [f"{i:022d}" for i in range(60)]


def test_what_is_gone_from_the_ledger_is_gone_from_the_mirrors_state(ledger):
    ledger.suppressions.add([entry()])
    with ledger.database.write() as connection:
        connection.execute(delete(suppressions))

    assert state(ledger) == NumberState(NUMBER, {}, {})


def test_what_says_nothing_new_is_not_recorded_again(ledger):
    again = entry(reason="list of 2026-11", until=5_000_000_000_000)
    first = ledger.suppressions.add([again, again])
    second = ledger.suppressions.add([again, entry(reason="list of 2026-11", until=4_000_000_000_000)])

    assert (first.new, second.new) == (1, 0)
    assert second.place == first.place == ledger.mirror_source.head()
    assert len(ledger.suppressions.of(NUMBER)) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"reason": "by phone"},
        {"until": None},
        {"application": "bank"},
        {"scope": MARKETING},
        {"source": SuppressionSource.OPERATOR},
        {"pseudonym": OTHER},
    ],
)
def test_what_another_says_or_for_longer_is_recorded(ledger, other):
    one = entry(until=5_000_000_000_000)
    ledger.suppressions.add([one])

    assert ledger.suppressions.add([replace(one, **other)]).new == 1


def test_what_was_lifted_or_has_ended_is_recorded_again(ledger):
    told = (entry(until=5), entry(until=5), entry(), entry(lifted=True), entry())

    assert [ledger.suppressions.add([one]).new for one in told] == [1] * 5
    assert ledger.suppressions.add([entry(), entry(lifted=True), entry()]).new == 2


def test_only_what_holds_is_in_force(ledger):
    ledger.suppressions.add([entry(reason="lifted"), entry(lifted=True), entry(reason="ended", until=5)])
    ledger.suppressions.add([entry(reason="one"), entry(reason="two")])
    ledger.suppressions.add([entry(application="bank"), entry(scope=MARKETING)])

    assert [one.reason for one in ledger.suppressions.in_force(NUMBER, "shop", ALL)] == ["one", "two"]


def test_a_place_whose_entry_was_purged_is_still_in_the_history(ledger):
    """Nobody said anything for years: the mirror stands where the audit chain has no entries any more."""
    signer = Keyring({"k1": b"r" * 31 + b"1"}, b"p" * 31 + b"1").signer
    ledger.suppressions.add([entry()])
    place = ledger.mirror_source.head()
    ledger.verifications.record([event("delivery.sent")])
    head = ledger.audit.head()
    ledger.audit.sign(SignedHead(head, signer.sign(head.signed)))
    later = head.at + 4000 * 24 * 3600 * 1000
    list(ledger.purges.run(Purge(AUDIT, later - 1, later, signer)))
    assert ledger.audit.link_at(place.entry) is None
    ledger.suppressions.add([entry(OTHER)])

    changes = ledger.mirror_source.since(place, 10)
    assert changes is not None
    assert [one.pseudonym for one in changes.numbers] == [OTHER]
    assert not ledger.mirror_source.has(replace(place, link="0" * 64)), "another history"
