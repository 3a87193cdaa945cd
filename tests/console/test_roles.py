"""Each role, each view: who may see what, and nobody who has not signed in."""

import pytest
from support_console import Browser, new_person, sign_in

from otp_service.console.accounts import Role
from otp_service.console.app import HEADERS, VIEWS
from otp_service.console.records import ConsoleUsers

CLOSED = [view for view in VIEWS if not view.is_open]


def path_of(view) -> str:
    return view.rule.replace("<", "x").replace(">", "")


@pytest.mark.parametrize("view", CLOSED, ids=lambda view: view.endpoint)
def test_nobody_sees_anything_before_he_signs_in(console, installation, view):
    browser = Browser(console)
    answer = browser.get(path_of(view)) if view.method == "GET" else browser.post(path_of(view))

    assert (answer.status_code, answer.location) == (303, "/sign-in")


@pytest.mark.parametrize("role", Role)
def test_a_role_sees_its_own_views_and_no_other(console, installation, role):
    browser = sign_in(console, new_person(installation, "somebody", role))
    navigation = browser.get("/").text
    for view in CLOSED:
        if view.rule == "/sign-out":
            continue
        browser.get("/")
        answer = browser.get(path_of(view)) if view.method == "GET" else browser.post(path_of(view))
        assert answer.status_code < 500, view.endpoint
        is_allowed = view.permission is None or browser_may(installation, view)
        assert (answer.status_code == 403 and "Not allowed" in answer.text) is not is_allowed, view.endpoint
        if view.title:
            assert (f'href="{view.rule}"' in navigation) is is_allowed


def browser_may(installation, view) -> bool:
    return ConsoleUsers(installation.context.ledger.database).find("somebody").may(view.permission)


@pytest.mark.parametrize("path", ["/sign-in", "/nothing", "/static/console.css"])
def test_every_answer_has_all_headers(console, installation, path):
    answer = Browser(console).get(path)

    assert {name: answer.headers.get(name) for name in HEADERS if name != "Cache-Control"} == {
        name: value for name, value in HEADERS.items() if name != "Cache-Control"
    }
    assert answer.headers["Cache-Control"] == ("no-store" if "static" not in path else "public, max-age=3600")
