"""Signing in: one refusal for all failures, codes once, waits, sessions that end; forms of our own only."""

import pyotp
import pytest
from support_console import PASSWORD, Browser, Person, new_person, sign_in

from otp_service.console import authentication
from otp_service.console import records as ledger
from otp_service.console.accounts import FIRST_WAIT, FREE_TRIES, INVITATION_LIFE, Role
from otp_service.console.app import Console
from otp_service.console.records import ConsoleUsers
from otp_service.console.sessions import ConsoleSessions
from otp_service.domain.phrases import Phrase


def cookie_of(browser: Browser) -> str:
    return browser.client.get_cookie("__Host-console", domain="localhost").value


def test_whoever_was_invited_chooses_a_password_and_an_app_and_signs_in(console, installation):
    person = new_person(installation, "ayesha", Role.ADMIN)
    browser = sign_in(console, person)

    assert "Good day" in browser.get("/").text
    assert browser.get("/users").status_code == 200
    session = browser.client.get_cookie("__Host-console", domain="localhost")
    assert (session.secure, session.http_only, session.same_site, session.path) == (True, True, "Lax", "/")


def test_name_password_and_code_are_refused_alike(console, installation):
    person = new_person(installation, "ayesha", Role.SUPPORT)
    wrong = [("nobody", PASSWORD, person.code()), ("ayesha", "x" * 20, person.code()), ("ayesha", PASSWORD, "000000")]
    answers = []
    for number, (name, password, code) in enumerate(wrong):
        browser = Browser(console, address=f"203.0.113.{number}")
        browser.get("/sign-in")
        answers.append(browser.post("/sign-in", name=name, password=password, code=code))

    assert {one.status_code for one in answers} == {403}
    assert len({one.text for one in answers}) == 1


def test_a_code_signs_in_once(console, installation):
    person = new_person(installation, "ayesha", Role.SUPPORT)
    code = person.code()
    first, second = Browser(console), Browser(console)
    for one, status in ((first, 303), (second, 403)):
        one.get("/sign-in")
        assert one.post("/sign-in", name="ayesha", password=PASSWORD, code=code).status_code == status


def test_failures_of_a_name_from_a_network_wait_and_nobody_elsewhere_does(console, installation):
    person = new_person(installation, "ayesha", Role.SUPPORT)
    stranger = Browser(console, address="198.51.100.7")
    stranger.get("/sign-in")
    statuses = [
        stranger.post("/sign-in", name="ayesha", password="no", code="1").status_code for _ in range(FREE_TRIES + 2)
    ]

    assert statuses == [403] * FREE_TRIES + [429] * 2
    sign_in(console, person, address="203.0.113.1")


def test_who_knows_a_password_guesses_no_codes_from_many_networks(console, installation, real_world):
    person = new_person(installation, "ayesha", Role.SUPPORT)

    def tries(code: str, network: int) -> int:
        browser = Browser(console, address=f"198.51.100.{network}")
        browser.get("/sign-in")
        return browser.post("/sign-in", name="ayesha", password=PASSWORD, code=code).status_code

    assert [tries("000000", network) for network in range(FREE_TRIES)] == [403] * FREE_TRIES
    assert tries(person.code(), 100) == 403
    real_world.advance(FIRST_WAIT / 1000)
    assert tries(person.code(), 101) == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "https://localhost:8443"},
        {"Origin": "null"},
        {},
    ],
)
def test_a_form_of_another_site_or_port_is_refused(console, installation, headers):
    browser = sign_in(console, new_person(installation, "ayesha", Role.ADMIN))
    browser.get("/users")
    answer = browser.send("/sign-out", {"form": browser.form_token}, headers)

    assert answer.status_code == 403
    assert browser.get("/users").status_code == 200


@pytest.mark.parametrize("path", ["/users/%00/disable", "/users?application=%00", "/users", "/sign-in"])
def test_what_no_text_of_the_ledger_may_hold_is_refused(console, installation, path):
    browser = sign_in(console, new_person(installation, "ayesha", Role.ADMIN))
    browser.get("/users")

    assert browser.post(path, name="a" if "%" in path else "a\0b").status_code == 400


@pytest.mark.parametrize("back", ["/\t/evil.example", "//evil.example", "/\\evil.example", "https://evil.example"])
def test_another_code_leads_back_to_a_page_of_ours(console, installation, back):
    person = new_person(installation, "ayesha", Role.ADMIN)
    browser = sign_in(console, person)
    browser.get("/users")

    assert browser.post("/confirm", code=person.code(), back=back).location == "/"


def test_behind_a_proxy_all_is_at_the_public_address(real_world):
    installation = real_world.install(console={"public_url": "https://localhost"})
    console = Console(installation)
    browser = sign_in(console, new_person(installation, "ayesha", Role.ADMIN))
    browser.get("/users")
    form = {"form": browser.form_token, "name": "sana", "role": "support"}
    invited = {
        origin: console.test_client(use_cookies=False).post(
            "/users",
            base_url="http://localhost",
            data=form,
            headers={"Origin": origin, "Cookie": f"__Host-console={cookie_of(browser)}"},
        )
        for origin in ("http://localhost", "https://localhost")
    }

    assert [one.status_code for one in invited.values()] == [403, 200]
    assert "https://localhost/invitation/" in invited["https://localhost"].text


def test_a_form_without_the_sessions_own_token_is_refused(console, installation):
    browser = sign_in(console, new_person(installation, "ayesha", Role.ADMIN))

    for token in ("", "x", "é"):
        assert browser.send("/sign-out", {"form": token}, {"Sec-Fetch-Site": "same-origin"}).status_code == 403


def test_a_cookie_is_worth_nothing_after_sign_out(console, installation):
    browser = sign_in(console, new_person(installation, "ayesha", Role.ADMIN))
    browser.get("/")
    stolen = browser.client.get_cookie("__Host-console", domain="localhost").value
    answer = browser.post("/sign-out")
    thief = Browser(console)
    thief.client.set_cookie("__Host-console", stolen, domain="localhost", secure=True)

    assert answer.headers["Clear-Site-Data"]
    assert thief.get("/users").location == "/sign-in"


def test_nothing_is_written_to_a_session_that_is_over(console, installation):
    browser = sign_in(console, new_person(installation, "ayesha", Role.ADMIN))
    sessions = ConsoleSessions(installation.context)
    session = sessions.find(cookie_of(browser))
    sessions.end(session)  # by another tab, while this one works
    sessions.confirm(session)
    sessions.leave_notes(session, [Phrase("It is done.")])

    assert browser.get("/users").location == "/sign-in"


def test_a_session_that_somebody_planted_is_not_taken_over(console, installation):
    person = new_person(installation, "ayesha", Role.ADMIN)
    browser = Browser(console)
    browser.client.set_cookie("__Host-console", "planted", domain="localhost", secure=True)
    browser.get("/sign-in")
    browser.post("/sign-in", name="ayesha", password=PASSWORD, code=person.code())

    assert browser.client.get_cookie("__Host-console", domain="localhost").value != "planted"


@pytest.mark.parametrize("change", ["disable", "role", "invite"])
def test_a_change_of_a_user_ends_his_sessions(console, installation, change):
    browser = sign_in(console, new_person(installation, "ayesha", Role.SUPPORT))
    users = ConsoleUsers(installation.context.ledger.database)
    acts = {
        "disable": lambda: users.disable("ayesha", "cli:x"),
        "role": lambda: users.change("ayesha", Role.FRAUD, (), "cli:x"),
        "invite": lambda: users.invite_again("ayesha", "h", "cli:x"),
    }
    assert acts[change]()

    assert browser.get("/").location == "/sign-in"


def test_an_invitation_is_accepted_once_and_in_time(console, installation, monkeypatch):
    admin = sign_in(console, new_person(installation, "boss", Role.ADMIN))
    admin.get("/users")
    shown = admin.post("/users", name="zain", role="fraud", applications="shop").text
    invitation = shown.split("/invitation/")[1].split("<")[0]
    newcomer, path = Browser(console), f"/invitation/{invitation}"
    page = newcomer.get(path).text

    assert "zain" in page
    assert newcomer.get(path).text == page  # the same secret
    assert newcomer.get(f"{path}/code.svg").mimetype == "image/svg+xml"
    assert newcomer.post(path, password="short", code="1").status_code == 403
    assert newcomer.get("/invitation/anything").status_code == 404
    app = pyotp.parse_uri(authentication.open_invitation(installation.context, invitation).uri)
    with monkeypatch.context() as late:
        over = ledger.now() + INVITATION_LIFE
        late.setattr(ledger, "now", lambda: over)
        assert newcomer.get(path).status_code == 404
    newcomer.get(path)
    assert newcomer.post(path, password=PASSWORD, code=Person("zain", app).code()).location == "/sign-in?accepted"
    assert newcomer.get(path).status_code == 404


def test_another_host_is_refused(console, installation):
    answer = console.test_client().get("/sign-in", base_url="https://evil.example")

    assert answer.status_code == 403
    assert "password" not in answer.text


@pytest.mark.parametrize(("role", "applications"), [("admin", "shop"), ("support", "nobody")])
def test_who_gives_out_access_is_limited_to_no_application_and_none_is_made_up(
    console, installation, role, applications
):
    new_person(installation, "omar", Role.SUPPORT)
    browser = sign_in(console, new_person(installation, "ayesha", Role.ADMIN))
    browser.get("/users")

    assert browser.post("/users", name="sana", role=role, applications=applications).status_code == 422
    assert browser.post("/users/omar/change", role=role, applications=applications).status_code == 422


@pytest.mark.parametrize("path", ["/users", "/users/zain/change"])
@pytest.mark.parametrize(("field", "sentence"), [("role", "no such role"), ("applications", "no application of this")])
def test_a_user_has_a_role_and_applications_that_are_there(console, installation, path, field, sentence):
    new_person(installation, "zain", Role.SUPPORT)
    admin = sign_in(console, new_person(installation, "boss", Role.ADMIN))
    admin.get("/users")
    answer = admin.post(path, **{"name": "omar", "role": "fraud", "applications": "shop", field: "none"})

    assert (answer.status_code, sentence in answer.text) == (422, True)
    assert ConsoleUsers(installation.context.ledger.database).find("zain").role is Role.SUPPORT
    assert ConsoleUsers(installation.context.ledger.database).find("omar") is None
