"""What entries on a number come to: the last of each counts, and a freeze is ended by nothing but its own lift."""

from otp_service.domain.consents import (
    EVERY_APPLICATION,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    active_freezes,
    is_suppressed,
)

FROZEN, ALL = SuppressionScope.FROZEN, SuppressionScope.ALL
BY_API = SuppressionSource.API


def entry(scope=FROZEN, application="shop", *, lifted=False, reason=""):
    return Suppression("n" * 22, application, scope, BY_API, reason, lifted=lifted)


def test_a_number_is_frozen_until_that_is_lifted():
    first, again = entry(reason="case 1"), entry(reason="case 2")

    assert active_freezes([first, again]) == (first, again)
    assert active_freezes([first, again, entry(lifted=True)]) == ()
    assert active_freezes([first, entry(lifted=True), again]) == (again,)


def test_a_freeze_of_one_application_is_not_lifted_by_another_nor_for_all():
    mine, theirs, everywhere = entry(), entry(application="bank"), entry(application=EVERY_APPLICATION)
    lifts = [entry(application=name, lifted=True) for name in ("bank", EVERY_APPLICATION)]

    assert active_freezes([mine, theirs, everywhere, *lifts]) == (mine,)


def test_a_freeze_and_a_suppression_neither_make_nor_lift_each_other():
    assert active_freezes([entry(), entry(ALL), entry(ALL, lifted=True)]) == (entry(),)
    assert active_freezes([entry(ALL)]) == ()
    assert is_suppressed([entry(ALL), entry(), entry(lifted=True)], 0)
    assert not is_suppressed([entry()], 0)
