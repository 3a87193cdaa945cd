"""Users and what they can do; looks at people: each is in the chain, a page that is shown again is the same look."""

from dataclasses import replace

from support_ledger_events import EVIDENCE, NUMBER, OTHER

from otp_service.console import records as console
from otp_service.console.accounts import INVITATION_LIFE, Role
from otp_service.console.records import ConsoleUsers, NumberView, NumberViews
from otp_service.domain.consents import Consent

LOOK = NumberView("ayesha", "compliance", NUMBER, "case A-17")
MINUTES = 600_000


def test_a_page_that_is_shown_again_is_the_same_look(ledger, monkeypatch):
    NumberViews(ledger.database).record(LOOK)
    NumberViews(ledger.database).record(replace(LOOK, reason=""), MINUTES)
    others = [replace(LOOK, by="zain"), replace(LOOK, view="export"), replace(LOOK, pseudonym=OTHER)]
    for one in others:
        NumberViews(ledger.database).record(one, MINUTES)
    assert len(NumberViews(ledger.database).latest(10)) == 1 + len(others)

    later = console.now() + MINUTES
    monkeypatch.setattr(console, "now", lambda: later)
    NumberViews(ledger.database).record(LOOK, MINUTES)
    assert len(NumberViews(ledger.database).latest(10)) == 2 + len(others)


def test_looks_at_a_number_are_those_at_it_the_newest_first(ledger, monkeypatch):
    for at, view in enumerate(("find", "compliance", "export"), 1):
        monkeypatch.setattr(console, "now", lambda at=at: at)
        NumberViews(ledger.database).record(replace(LOOK, view=view))
    NumberViews(ledger.database).record(replace(LOOK, pseudonym=OTHER))

    assert [one.view for one in NumberViews(ledger.database).at(NUMBER, 2)] == ["export", "compliance"]
    assert [one["view"] for one in ledger.subjects.export(NUMBER, "shop").looks] == ["find", "compliance", "export"]


def test_consents_of_a_number_are_those_of_the_applications_the_newest_first(ledger):
    for application in ("shop", "bank", "club"):
        ledger.consents.add(Consent(NUMBER, application, "login", EVIDENCE))
    ledger.consents.add(Consent(OTHER, "shop", "login", EVIDENCE))

    assert [one.application for one in ledger.consents.all_of(NUMBER, 2)] == ["club", "bank"]
    assert [one.application for one in ledger.consents.all_of(NUMBER, 9, {"shop", "bank"})] == ["bank", "shop"]


def test_users_are_told_by_the_numbers_that_they_looked_at(ledger):
    for by, pseudonym in ("sana", "p1"), ("sana", "p1"), ("omar", "p1"), ("omar", "p2"):
        NumberViews(ledger.database).record(NumberView(by, "find", pseudonym))

    assert NumberViews(ledger.database).numbers_by_user(console.now() - 1000, 0) == (("omar", 2, 2), ("sana", 1, 1))
    assert NumberViews(ledger.database).numbers_by_user(console.now() + 1000, 0) == (("omar", 0, 2), ("sana", 0, 1))


def test_a_user_is_invited_for_a_time_then_active_until_he_is_disabled(ledger, monkeypatch):
    users, states = ConsoleUsers(ledger.database), []
    users.invite("ayesha", Role.SUPPORT, (), "hash", "cli:x")
    states.append(users.all()[0].state)
    later = console.now() + INVITATION_LIFE
    monkeypatch.setattr(console, "now", lambda: later)
    states.append(users.all()[0].state)
    users.invite_again("ayesha", "another", "cli:x")
    assert users.accept("another", "password", "secret", 1)
    states.append(users.all()[0].state)
    users.disable("ayesha", "cli:x")

    assert [*states, users.all()[0].state] == ["invited", "invitation is over", "active", "disabled"]
