"""Stats for fraud: what passes, what rules refuse, the funnel, money; small counts hidden from who needs none."""

from types import SimpleNamespace

import pytest
from support_caller import Caller
from support_console import Browser, new_person, sign_in
from support_events import record_events
from support_service import eventually

from otp_service.console import plots
from otp_service.console.accounts import Role
from otp_service.console.records import ConsoleUsers
from otp_service.domain.guard import HOUR
from otp_service.store.guard import CountryBreaker

PAGES = ("/fraud", "/fraud/rules", "/fraud/funnel", "/fraud/spend")


@pytest.fixture
def fraud(console, installation) -> Browser:
    return sign_in(console, new_person(installation, "farah", Role.FRAUD))


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    "query", ["", "?days=1", "?days=90&country=PK&application=shop", "?days=x&country=<>&application=nobody"]
)
def test_pages_are_there_with_nothing_and_with_any_question(fraud, path, query):
    assert fraud.get(path + query).status_code == 200


HOLDS = {
    "country": {"application": "shop", "country": "PK"},
    "block": {"number": "+923001234567"},
    "address": {"address": "192.0.2.1"},
}


@pytest.mark.parametrize("what", HOLDS)
def test_holds_are_lifted_and_recorded(installation, fraud, monkeypatch, what):
    fraud.get("/fraud/holds")
    assert fraud.post(f"/fraud/holds/{what}", **HOLDS[what]).location == "/fraud/holds"
    assert "Nothing was counted there." in fraud.get("/fraud/holds").text
    monkeypatch.setattr(type(installation.context.store.guard), "_forget", lambda *_: 1)
    fraud.post(f"/fraud/holds/{what}", **HOLDS[what])
    assert "Forgotten." in fraud.get("/fraud/holds").text
    acts = installation.context.ledger.operator_actions.between(None, None, 100)

    assert [(one.by, one.target) for one in acts if one.action == "guard-unblocked"] == [("console:farah", what)]


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("country", {"application": "none", "country": "PK"}),
        ("country", {"application": "shop", "country": "??"}),
        ("block", {"number": "nonsense"}),
        ("address", {"address": "nonsense"}),
    ],
)
def test_what_is_no_hold_is_said_so(fraud, what, fields):
    fraud.get("/fraud/holds")
    answer = fraud.post(f"/fraud/holds/{what}", **fields)

    assert (answer.status_code, 'role="alert"' in answer.text) == (422, True)


@pytest.mark.parametrize(
    ("what", "fields"), [("block", {"number": "+923001234567"}), ("address", {"address": "192.0.2.1"})]
)
def test_who_sees_one_application_lifts_nothing_of_all(console, installation, what, fields):
    browser = sign_in(console, new_person(installation, "farah", Role.FRAUD, "shop"))
    page = browser.get("/fraud/holds").text

    assert f"/holds/{what}" not in page
    assert browser.post(f"/fraud/holds/{what}", **fields).status_code == 403
    assert installation.context.ledger.operator_actions.between(None, None, 100)[1:] == ()


def test_what_ceilings_tell_exactly_is_for_who_needs_exact_stats(console, installation, fraud):
    clerk = sign_in(console, new_person(installation, "ayesha", Role.COMPLIANCE))

    assert "Ceilings" in fraud.get("/fraud/spend").text
    assert "Ceilings" not in clerk.get("/fraud/spend").text


def test_other_rules_are_tried_on_what_happened(installation, fraud):
    shop = Caller(installation)
    shop.start()
    fraud.get("/fraud/what-if")
    page = fraud.post("/fraud/what-if", rules='[limits]\nnumber = ["1/day"]\n').location
    result = eventually(lambda: "Under these rules" in fraud.get(page).text and fraud.page)

    assert "The rules that were tried" in result


@pytest.mark.parametrize(
    "rules",
    [
        "[",
        "[redis]\nurl = 'redis://evil'",
        "[limits]\nnumber = 'x'",
        "[guard]\nnothing = 1",
        '"{a}" = 1',
        f"x = {'[' * 9000}",
    ],
)
def test_rules_that_are_none_are_told_of(fraud, rules):
    fraud.get("/fraud/what-if")
    answer = fraud.post("/fraud/what-if", rules=rules)

    assert answer.status_code == 422
    assert "alert" in answer.text


def test_a_try_is_its_users_alone(console, installation, fraud):
    fraud.get("/fraud/what-if")
    page = fraud.post("/fraud/what-if", rules="").location
    other = sign_in(console, new_person(installation, "omar", Role.FRAUD))

    assert other.get(page).status_code == 404


def test_tries_that_ended_keep_nobody_from_another_one(fraud):
    for _ in range(12):
        fraud.get("/fraud/what-if")
        page = fraud.post("/fraud/what-if", rules="").location
        assert eventually(lambda page=page: "Under these rules" in fraud.get(page).text)


def test_a_try_is_over_for_who_may_see_less_since(console, installation, fraud):
    person = new_person(installation, "omar", Role.FRAUD)
    browser = sign_in(console, person)
    browser.get("/fraud/what-if")
    page = browser.post("/fraud/what-if", rules="").location
    ConsoleUsers(installation.context.ledger.database).change("omar", Role.FRAUD, ["shop"], "cli:tests")

    assert sign_in(console, person).get(page).status_code == 404


def test_from_a_figure_one_gets_to_the_rows_behind_it(console, installation, fraud):
    shop = Caller(installation)
    mine = shop.start()
    record_events(shop.context)
    page = fraud.get("/fraud/unapproved?days=1&application=shop").text

    assert mine in page
    assert mine not in fraud.get("/fraud/unapproved?days=1&application=shop&country=GB").text
    assert mine not in fraud.get("/fraud/unapproved?days=1&application=bank&from=x&until=99999999999999999").text
    assert "/fraud/unapproved?" in fraud.get("/fraud").text
    of_bank = sign_in(console, new_person(installation, "omar", Role.FRAUD, "bank"))
    assert mine not in of_bank.get("/fraud/unapproved?days=1&application=shop").text


def test_a_country_that_is_closed_is_shown_without_reading_decisions(console, installation, fraud, monkeypatch):
    shop = Caller(installation)
    shop.start()
    record_events(shop.context)
    closed = CountryBreaker(ends=shop.context.store.decisions.now() + 600_000, times=2)
    monkeypatch.setattr(type(shop.context.store.guard), "stop", lambda _, *place: closed if place[1] == "PK" else None)
    monkeypatch.delattr(type(shop.context.store.decisions), "latest")

    assert "in <bdi>10</bdi> minutes" in fraud.get("/fraud/holds").text or "in <bdi>11</bdi>" in fraud.page
    assert fraud.get("/fraud/spend").status_code == 200
    of_bank = sign_in(console, new_person(installation, "omar", Role.FRAUD, "bank"))
    assert "No country is closed." in of_bank.get("/fraud/holds").text


def test_plots_show_hours_in_which_nothing_happened():
    axis = plots.Axis(2 * HOUR, 5 * HOUR, "hour")
    rows = [SimpleNamespace(hour=3 * HOUR, started=7)]

    assert axis.values(rows, lambda one: one.started) == [0, 7, 0]
    assert axis.labels == ["01.01. 02:00", "01.01. 03:00", "01.01. 04:00"]
    assert plots.Axis(HOUR, 49 * HOUR, "day").labels == ["01.01.", "02.01.", "03.01."]
