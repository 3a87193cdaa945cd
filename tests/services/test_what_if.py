"""Other rules, tried on what happened: who would have been refused though they approved comes first."""

from typing import Any

from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import approve, guarded, guess, number

from otp_service.services.what_if import RefusedPeople, TriedRules, notes, what_if

ABROAD: dict[str, Any] = {"shop": {"countries": ["GB"], "region": "GB"}, "bank": {"countries": ["GB"], "region": "GB"}}


def test_people_who_would_have_been_refused_are_counted_by_application_and_country(frozen: FrozenValkey) -> None:
    shop = Caller(guarded(frozen, "destination.country"))
    bank = Caller(guarded(frozen, "destination.country"), "bank")
    approve(bank, number(9))
    for one in (number(1), number(2), "+447400123456"):
        approve(shop, one)
    guess(shop, shop.start(number(3)))
    tried = guarded(frozen, "destination.country", applications=ABROAD)
    found = what_if(shop.context, TriedRules.of(tried.context, tried.settings.guard))

    assert found.refused_people == (RefusedPeople("shop", "PK", 2), RefusedPeople("bank", "PK", 1))
    assert (found.before.approved, found.after.approved, found.people_refused) == (4, 1, 3)
    assert (found.never_started, found.unknown) == (4, 0)
    assert found.after.refused == {"destination.country": 4}
    assert next(map(str, notes(found))) == "People who were approved and would have been refused: 3."
    assert not any(digits in repr(found.refused_people) for digits in (number(1)[-7:], "7400123456"))


def test_attempts_of_all_applications_are_tried_and_those_of_some_are_counted(frozen: FrozenValkey) -> None:
    shop = Caller(guarded(frozen, "destination.country"))
    bank = Caller(guarded(frozen, "destination.country"), "bank")
    for one in (number(1), number(2)):
        approve(shop, one)
    approve(bank, number(9))
    tried = guarded(frozen, "destination.country", applications=ABROAD)
    rules = TriedRules.of(tried.context, tried.settings.guard)
    found = what_if(shop.context, rules, {"bank"})

    assert found.refused_people == (RefusedPeople("bank", "PK", 1),)
    assert (found.before.approved, found.before.messages, found.never_started) == (1, 1, 1)
    assert found.after.refused == {"destination.country": 1}
    assert what_if(shop.context, rules).before.messages == 3


def test_under_the_same_rules_nobody_would_have_been_refused(frozen: FrozenValkey) -> None:
    site = guarded(frozen, "destination.country")
    approve(Caller(site), number(1))
    found = what_if(site.context, TriedRules.of(site.context, site.settings.guard))

    assert (found.refused_people, found.before, found.never_started) == ((), found.after, 0)


def test_a_rule_on_countries_that_is_off_refuses_nobody(frozen: FrozenValkey) -> None:
    site = guarded(frozen, "destination.country")
    approve(Caller(site), number(1))
    tried = guarded(frozen, applications=ABROAD)

    assert what_if(site.context, TriedRules.of(tried.context, tried.settings.guard)).refused_people == ()
