"""Consents and suppressions of all numbers: they name nobody, are paged by a place, and keep applications apart."""

import re
from dataclasses import replace

import pytest
from support_console import Browser, new_person, sign_in
from support_ledger_events import EVIDENCE

from otp_service.bootstrap import Installation
from otp_service.console.accounts import Role
from otp_service.console.records import NumberViews
from otp_service.domain.consents import EVERY_APPLICATION, Consent, Suppression, SuppressionScope, SuppressionSource

NUMBERS = [f"+92300123456{digit}" for digit in range(10)]
ROW = re.compile(r"<tr>\s*<th scope=\"row\">")


def filled(installation: Installation) -> list[str]:
    """Let two applications hold something of some numbers; return their pseudonyms."""
    context = installation.context
    pseudonyms = [context.keyring.pseudonym(number) for number in NUMBERS]
    for pseudonym in pseudonyms:
        for application in ("shop", "bank"):
            context.ledger.consents.add(Consent(pseudonym, application, "login", EVIDENCE))
        freeze = Suppression(
            pseudonym, "shop", SuppressionScope.FROZEN, SuppressionSource.OPERATOR, "told by Bilal, case A-17"
        )
        context.ledger.suppressions.add([freeze])
    context.ledger.consents.add(Consent(pseudonyms[0], "shop", "login", None))
    context.ledger.suppressions.add([replace(freeze, pseudonym=pseudonyms[0], lifted=True)])
    context.ledger.suppressions.add([replace(freeze, application=EVERY_APPLICATION)])
    return pseudonyms


@pytest.fixture
def ayesha(console, installation) -> Browser:
    return sign_in(console, new_person(installation, "ayesha", Role.COMPLIANCE))


def rows(page: str) -> int:
    return len(ROW.findall(page))


def test_a_list_names_nobody_and_is_no_look_at_a_person(installation, ayesha):
    pseudonyms = filled(installation)
    pages = [ayesha.get(f"/compliance/{name}?application=shop").text for name in ("consents", "suppressions")]
    pages.append(ayesha.get("/compliance/suppressions?application=shop&kind=frozen").text)

    assert [rows(page) for page in pages] == [11, 0, 11]
    for page in pages:
        assert [one for one in (*pseudonyms, *(number[3:] for number in NUMBERS)) if one in page] == []
        for private in ("•••", "Bilal", EVIDENCE.source, EVIDENCE.address_prefix):
            assert private not in page
    assert NumberViews(installation.context.ledger.database).latest(10) == ()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("consents?application=shop&kind=login&state=in+force", 9),
        ("consents?application=shop&kind=login&state=ended", 2),
        ("consents?application=shop&kind=payment", 0),
        ("suppressions?application=shop&kind=frozen&state=in+force", 9),
        ("suppressions?application=shop&kind=frozen&state=ended", 2),
        ("suppressions?application=*&kind=frozen", 1),
        ("suppressions?application=shop&kind=all", 0),
    ],
)
def test_a_list_shows_what_is_asked_for(installation, ayesha, asked, expected):
    filled(installation)

    assert rows(ayesha.get(f"/compliance/{asked}").text) == expected


@pytest.mark.parametrize("asked", ["before=x", "before=-1", f"before={10**30}", "application=x&kind=<b>&state=x"])
def test_what_nobody_can_choose_is_not_chosen(installation, ayesha, asked):
    filled(installation)
    page = ayesha.get(f"/compliance/consents?{asked}")

    assert (page.status_code, rows(page.text)) == (200, 10), "of the first application"
    assert "<b>" not in page.text


def test_pages_follow_each_other_by_a_place_until_all_was_shown(installation, ayesha, monkeypatch):
    filled(installation)
    monkeypatch.setattr("otp_service.console.compliance._MAX_ROWS", 4)
    path, shown = "/compliance/consents?application=shop&kind=login", []
    while path:
        page = ayesha.get(path).text
        shown.append(rows(page))
        older = re.search(r'href="(/compliance/consents\?[^"]*before=\d+)"', page)
        path = older[1].replace("&amp;", "&") if older else ""

    assert shown == [4, 4, 3]


def test_who_sees_one_application_sees_no_entry_of_another_or_of_all(console, installation):
    filled(installation)
    clerk = sign_in(console, new_person(installation, "bilal", Role.COMPLIANCE, "shop"))
    for name in ("consents", "suppressions"):
        page = clerk.get(f"/compliance/{name}?application=bank").text
        assert ">bank<" not in page
        assert 'value="*"' not in page
        assert 'value="shop"' in page
    assert rows(clerk.get("/compliance/suppressions?application=*&kind=frozen").text) == 11
