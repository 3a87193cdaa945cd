"""Compliance: looks are recorded before anything is shown, applications are kept apart, nothing is injected."""

import json
import re
from dataclasses import replace

import pytest
from sqlalchemy import insert
from support_console import Browser, new_person, sign_in
from support_installation import NUMBER, World
from support_ledger_events import EVIDENCE, started

from otp_service.api.routes import type_adapter
from otp_service.bootstrap import Installation, prepare
from otp_service.clock import now
from otp_service.console.accounts import CONFIRMED_FOR, NAME_RULE, Role
from otp_service.console.app import Console
from otp_service.console.language import catalogue
from otp_service.console.records import (
    DualControlAction,
    DualControlRequest,
    DualControlRequests,
    NumberView,
    NumberViews,
)
from otp_service.console.requests import MAYBE_RECORDED
from otp_service.console.sessions import ConsoleSessions
from otp_service.domain.consents import (
    EVERY_APPLICATION,
    Consent,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    active_freezes,
    is_suppressed,
)
from otp_service.domain.numbers import SubjectKey, parse_destination, subject_key
from otp_service.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.ledger.retention import PURGE_RULES
from otp_service.ledger.schema import operator_actions
from otp_service.services.audit import verify_dispute_pack
from otp_service.services.exports import SubjectExportAnswer, export_answer
from otp_service.services.mirror import MirrorSync
from otp_service.services.operator_actions import AuditStatus
from otp_service.services.subjects import export

OTHER = "+923007654321"
MASK = "+92 ••• ••••567"
EVIL = "<b>x</b>\"'&\u05d0"
"""What somebody may have typed: HTML, quotes, and a letter that turns a line."""
LOOK = NumberView("ayesha", "compliance", "", "x" * 150)
REQUEST = DualControlRequest(DualControlAction.ERASE, "", "shop", "ayesha", "x" * 150)
SHOWN = "&lt;b&gt;x&lt;/b&gt;&#34;&#39;&amp;\u05d0"


@pytest.fixture
def installation(real_world: World) -> Installation:
    consents = {
        name: {
            "consent": "recorded",
            "keys": [],
            "purposes": ["login"],
            "countries": ["PK"],
            "region": "PK",
            "name": "A",
        }
        for name in ("shop", "bank")
    }
    made = real_world.install(applications=consents)
    prepare(made)
    made.context.mirror_sync.refresh()
    return made


@pytest.fixture
def console(installation: Installation) -> Console:
    return Console(installation)


class Office:
    """People of compliance at their browsers, and a number of which two applications hold something."""

    def __init__(self, console: Console, installation: Installation) -> None:
        self.console, self.installation = console, installation
        self.context, self.ledger = installation.context, installation.context.ledger
        self.number = self.key(NUMBER)
        for application in ("shop", "bank"):
            evidence = replace(EVIDENCE, source=f"page of {application} {EVIL}", text_version=EVIL)
            self.ledger.consents.add(Consent(self.number.pseudonym, application, "login", evidence))

    def key(self, number: str) -> SubjectKey:
        return subject_key(self.context.keyring, parse_destination(number, None))

    def person(self, name: str, role: Role = Role.COMPLIANCE, *applications: str) -> "Desk":
        return Desk(self, sign_in(self.console, new_person(self.installation, name, role, *applications)))

    @property
    def entries(self) -> tuple[Suppression, ...]:
        return self.ledger.suppressions.of(self.number.pseudonym)

    def looks(self) -> list[tuple[str, str, str]]:
        return [
            (one.by, one.view, one.reason)
            for one in reversed(NumberViews(self.ledger.database).at(self.number.pseudonym, 100))
        ]

    def acts(self) -> list[tuple[str, str, str, str]]:
        found = self.ledger.operator_actions.between(None, None, 1000)
        return [(one.action, one.by, one.application, one.target) for one in found if "console-user" not in one.action]


class Desk:
    """Somebody who is signed in, and perhaps looks at a number."""

    def __init__(self, office: Office, browser: Browser) -> None:
        self.office, self.browser = office, browser
        self.path = ""

    def look(self, number: str = NUMBER, **fields: str) -> str:
        """Look up a number; return its page."""
        self.browser.get("/compliance")
        answer = self.browser.post("/compliance", number=number, **fields)
        assert answer.status_code == 303, answer.text
        self.path = answer.location
        return self.browser.get(self.path).text

    def do(self, what: str, **fields: str):
        return self.browser.post(f"{self.path}/{what}", **fields)

    def ask(
        self, act: DualControlAction = DualControlAction.ERASE, application: str = "shop", reason: str = "case A-17"
    ):
        return self.do("ask", act=act, application=application, reason=reason)


@pytest.fixture
def office(console: Console, installation: Installation) -> Office:
    return Office(console, installation)


# --- looking ---


def test_a_look_is_recorded_and_leads_to_an_address_without_the_number(office):
    desk = office.person("ayesha")
    page = desk.look(reason="case A-17")

    assert office.looks() == [("ayesha", "compliance", "case A-17")]
    assert MASK in page
    assert NUMBER[1:] not in desk.path + page + office.number.pseudonym
    assert office.number.pseudonym not in desk.path + page
    desk.browser.get(desk.path)
    assert len(office.looks()) == 1  # the same look


def test_a_national_spelling_needs_its_region(office):
    desk = office.person("ayesha")

    assert MASK in desk.look("0300 1234567", region="pk")
    assert desk.browser.post("/compliance", number="0300 1234567", region="XX").status_code == 422
    assert desk.browser.post("/compliance", number="0300 1234567").status_code == 422


@pytest.mark.parametrize("number", ["", "no number", "+923", "+92300123456700000", "<script>"])
def test_what_is_no_number_is_no_look_and_is_not_shown_again(office, number):
    desk = office.person("ayesha")
    desk.browser.get("/compliance")
    answer = desk.browser.post("/compliance", number=number)

    assert answer.status_code == 422
    assert "This is no phone number" in answer.text
    assert not number or number not in answer.text
    assert NumberViews(office.ledger.database).latest(10) == ()


@pytest.mark.parametrize("reason", ["call 03001234567", "x" * 201, "a\u202eb"])
def test_a_reason_that_may_not_be_kept_is_refused(office, reason):
    desk = office.person("ayesha")
    desk.browser.get("/compliance")

    assert desk.browser.post("/compliance", number=NUMBER, reason=reason).status_code == 422
    assert NumberViews(office.ledger.database).latest(10) == ()


def test_without_the_ledger_nothing_of_a_person_is_shown(office, monkeypatch):
    desk = office.person("ayesha")
    desk.look()

    def away(*_, **__):
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(NumberViews, "record", away)
    answers = [
        desk.browser.get(desk.path),
        *(desk.do(what, application=EVERY_APPLICATION) for what in ("export", "pack")),
    ]
    answers.append(desk.browser.post("/compliance", number=NUMBER))
    assert [one.status_code for one in answers] == [503] * 4
    assert all(EVIDENCE.text_sha256 not in one.text and MASK not in one.text for one in answers)


def test_a_handle_is_good_in_its_session_alone(office):
    desk, other = office.person("ayesha"), office.person("zain")
    desk.look()

    assert other.browser.get(desk.path).status_code == 404
    for what in ("freeze", "export", "pack", "ask", "withdraw", "suppress"):
        assert other.browser.post(f"{desk.path}/{what}", application="shop").status_code == 404
    assert [one[0] for one in office.looks()] == ["ayesha"]


# --- roles ---


def test_a_role_without_compliance_sees_nothing_and_fraud_may_freeze(office):
    desk, fraud = office.person("ayesha"), office.person("faisal", Role.FRAUD)
    handle = ConsoleSessions(office.context).point_to
    session = ConsoleSessions(office.context).find(
        fraud.browser.client.get_cookie("__Host-console", domain="localhost").value
    )
    fraud.path = f"/compliance/{handle(session, office.number)}"
    fraud.browser.get("/")

    assert fraud.browser.get(fraud.path).status_code == 403
    for what in ("export", "pack", "ask", "withdraw", "suppress", "requests/sp_x/confirm"):
        assert fraud.do(what, application="shop").status_code == 403, what
    refused = fraud.do("freeze", application="nothing")
    assert refused.status_code == 403
    assert EVIDENCE.locale not in refused.text
    fraud.path = fraud.path.replace("compliance", "find")
    answer = fraud.do("freeze", application=EVERY_APPLICATION, reason="case A-17")
    assert (answer.status_code, answer.location) == (303, fraud.path)
    assert office.acts() == [("subject-frozen", "console:faisal", "", "")]
    assert "Frozen" in desk.look()


@pytest.mark.parametrize("what", ["export", "pack", "ask", "requests/sp_x/confirm"])
def test_what_shows_much_or_cannot_be_undone_takes_another_code(office, what, real_world):
    desk = office.person("ayesha")
    desk.look()
    for key in real_world.client.scan_iter("otp:{console}:session:*"):
        real_world.client.hincrby(key, "confirmed", -CONFIRMED_FOR - 1)
    answer = desk.do(what, application="shop")

    assert answer.status_code == 403
    assert "Confirm that it is you" in answer.text


# --- applications are kept apart ---


@pytest.fixture
def clerk(office: Office) -> Desk:
    """Somebody who may see the shop alone."""
    return office.person("bilal", Role.COMPLIANCE, "shop")


def suppress(office: Office, application: str, reason: str) -> None:
    entry = Suppression(office.number.pseudonym, application, SuppressionScope.ALL, SuppressionSource.OPERATOR, reason)
    office.ledger.suppressions.add([entry])


def test_who_sees_one_application_sees_nothing_of_another(office, clerk):
    suppress(office, "bank", "bank's own reason")
    suppress(office, "shop", "shop's own reason")
    boss = office.person("ayesha")
    boss.look(reason="a case of the bank")
    boss.do("freeze", application="bank", reason="x")
    boss.ask(application="bank", reason="asked for the bank")
    boss.ask(application=EVERY_APPLICATION, reason="asked for all")
    pages = clerk.look() + clerk.browser.get("/compliance").text

    assert "page of shop" in pages
    assert "own reason" in pages
    for hidden in (
        "page of bank",
        "bank&#39;s",
        "of the bank",
        ">bank<",
        'value="*"',
        "asked for the",
        "asked for all",
        "subject-frozen",
        "Frozen",
    ):
        assert hidden not in pages, hidden


@pytest.mark.parametrize("application", ["bank", EVERY_APPLICATION, "nothing", ""])
def test_who_sees_one_application_acts_for_no_other(office, clerk, application):
    clerk.look()
    fields = {"application": application, "purpose": "login", "scope": "all", "act": "erase", "reason": "x"}
    for what in ("freeze", "suppress", "withdraw", "ask", "pack"):
        answer = clerk.do(what, **fields)
        assert (answer.status_code, "attachment" in str(answer.headers)) == (422, False), what
    assert office.acts() == []
    assert DualControlRequests(office.ledger.database).latest(10) == ()


def test_an_export_holds_the_applications_that_somebody_sees(office, clerk):
    clerk.look()
    some = json.loads(clerk.do("export").text)
    boss = office.person("ayesha")
    boss.look()
    every = json.loads(boss.do("export").text)

    assert list(some["applications"]) == ["shop"]
    assert list(every["applications"]) == [EVERY_APPLICATION, "bank", "shop"]
    assert [one["by"] for one in some["applications"]["shop"]["looks"]] == ["bilal", "bilal"]
    assert [(one["by"], one["view"]) for one in every["applications"][EVERY_APPLICATION]["looks"]] == [
        ("bilal", "compliance"), ("bilal", "export"), ("ayesha", "compliance"), ("ayesha", "export"),
    ]  # fmt: skip


def test_a_dispute_pack_holds_the_application_that_somebody_sees(office, clerk):
    for name, application in (("vf_1", "shop"), ("vf_2", "bank")):
        office.ledger.verifications.record([started(name, number=office.number.pseudonym, application=application)])
    clerk.look()
    packs = [
        clerk.do("pack", application="shop"),
        clerk.browser.post("/compliance/pack", application="shop", verification="vf_1"),
    ]

    for answer in packs:
        assert {one["row"].get("application", "shop") for one in answer.json["rows"]} == {"shop"}
        assert answer.json["verifications"] == ["vf_1"]
        assert list(verify_dispute_pack(answer.json, office.context.keyring.signer.public_key)) == []
    assert clerk.browser.post("/compliance/pack", application="shop", verification="vf_2").status_code == 422
    assert clerk.browser.post("/compliance/pack", application="shop").status_code == 422
    assert [one[1] for one in office.looks()] == ["compliance", "dispute-pack", "dispute-pack"]


def test_a_dispute_pack_of_a_payment_is_found_by_its_reference_at_its_application(office):
    reference = office.context.keyring.reference_name("shop", "A-17")
    office.ledger.verifications.record([started(number=office.number.pseudonym, payment_reference=reference)])
    desk = office.person("ayesha")
    desk.browser.get("/compliance")
    found = desk.browser.post("/compliance/pack", application="shop", reference="A-17")

    assert found.json["about"] == {"application": "shop", "reference": "A-17"}
    assert office.looks() == [("ayesha", "dispute-pack", "")]
    for application in ("bank", EVERY_APPLICATION):
        answer = desk.browser.post("/compliance/pack", application=application, reference="A-17")
        assert answer.status_code == 422


# --- what is done ---


def test_a_consent_is_withdrawn_and_the_act_is_recorded(office):
    desk = office.person("ayesha")
    page = desk.look()
    answer = desk.do("withdraw", application="shop", purpose="login")
    after = desk.browser.get(answer.location).text

    assert page.count('/withdraw"') == 2
    assert "The consent is withdrawn." in after
    assert after.count('/withdraw"') == 1
    assert office.acts() == [("consent-withdrawn", "console:ayesha", "shop", "login")]
    assert office.ledger.consents.of(office.number.pseudonym, "shop", "login")[-1].withdrawn
    assert desk.do("withdraw", application="shop", purpose="nothing").status_code == 422


def test_a_number_is_suppressed_until_a_day(office):
    desk = office.person("ayesha")
    desk.look()
    answer = desk.do("suppress", application="shop", scope="all", until="2099-01-01", reason="by phone")

    assert "The number gets no more messages." in desk.browser.get(answer.location).text
    assert is_suppressed(office.entries, now())
    assert office.acts() == [("suppression-added", "console:ayesha", "shop", "all")]
    for wrong in ({"until": "2020-01-01"}, {"until": "soon"}, {"scope": "frozen"}, {"reason": "03001234567"}):
        fields = {"application": "shop", "scope": "all", **wrong}
        assert desk.do("suppress", **fields).status_code == 422, wrong
    assert len(office.entries) == 1


def test_what_is_recorded_and_not_in_force_yet_says_so(office, monkeypatch):
    desk = office.person("ayesha")
    desk.look()

    def away(*_, **__):
        raise StoreUnavailableError("away")

    monkeypatch.setattr(MirrorSync, "write_through", away)
    answer = desk.do("suppress", application="shop", scope="all")
    assert answer.status_code == 503
    assert MAYBE_RECORDED in answer.text
    assert is_suppressed(office.entries, now())


def test_an_erasure_takes_a_second_person_who_looks_at_the_same_number(office):
    asker, second = office.person("ayesha"), office.person("zain")
    asker.look()
    assert asker.ask().location == asker.path
    (request,) = DualControlRequests(office.ledger.database).latest(10)
    own = asker.browser.get(asker.path).text
    listed = second.browser.get("/compliance").text

    assert "/confirm" not in own
    assert "Take back" in own
    assert "It is asked for." in own
    assert asker.do(f"requests/{request.id}/confirm").status_code == 403
    assert "Find the number to confirm." in listed
    assert "/confirm" not in listed.replace('action="/confirm"', "")
    second.look(OTHER)
    assert second.do(f"requests/{request.id}/confirm").status_code == 403
    assert f"requests/{request.id}/confirm" in second.look()
    answer = second.do(f"requests/{request.id}/confirm")
    assert answer.location == second.path
    assert "It is done." in second.browser.get(second.path).text
    assert second.do(f"requests/{request.id}/confirm").status_code == 409
    assert office.acts() == [("subject-erased", "console:ayesha with zain", "shop", "")]
    assert office.ledger.consents.of(office.number.pseudonym, "shop", "login")[0].evidence.source == ""


def test_a_request_is_taken_back_or_declined_once(office):
    desk, second = office.person("ayesha"), office.person("zain")
    desk.look()
    for by in (desk, second):
        desk.browser.get(desk.path)
        desk.ask()
        name = DualControlRequests(office.ledger.database).latest(1)[0].id
        by.browser.get("/compliance")
        assert by.browser.post(f"/compliance/requests/{name}/decline").location == "/compliance"
        assert by.browser.post(f"/compliance/requests/{name}/decline").status_code == 409
        assert "It is declined." in by.browser.get("/compliance").text


def test_what_cannot_be_done_is_open_again(office, monkeypatch):
    desk, second = office.person("ayesha"), office.person("zain")
    desk.look()
    desk.do("freeze", application="shop")
    desk.ask(DualControlAction.UNFREEZE)
    (request,) = DualControlRequests(office.ledger.database).latest(1)
    second.look()

    def away(*_, **__):
        raise StoreUnavailableError("away")

    with monkeypatch.context() as broken:
        broken.setattr(MirrorSync, "write_through", away)
        answer = second.do(f"requests/{request.id}/confirm")
    assert answer.status_code == 503
    assert f"requests/{request.id}/confirm" in answer.text
    assert second.do(f"requests/{request.id}/confirm").status_code == 303
    assert "There was nothing left to do." in second.browser.get(second.path).text
    assert active_freezes(office.entries) == ()


@pytest.mark.parametrize("fields", [{"reason": ""}, {"reason": "03001234567"}, {"act": "forget"}, {"application": "x"}])
def test_what_is_asked_for_wrongly_is_not_asked_for(office, fields):
    desk = office.person("ayesha")
    desk.look()

    answer = desk.do("ask", **{"act": "erase", "application": "shop", "reason": "x", **fields})
    assert (answer.status_code, 'role="alert"' in answer.text) == (422, True)
    assert DualControlRequests(office.ledger.database).latest(10) == ()


# --- what is handed out ---


def test_downloads_are_files_of_their_type_and_hold_no_number(office):
    office.ledger.verifications.record([started(number=office.number.pseudonym)])
    desk = office.person("ayesha")
    desk.look()
    for answer in (desk.do("export"), desk.do("pack", application=EVERY_APPLICATION, since="1970-01-01")):
        assert (answer.status_code, answer.content_type) == (200, "application/json")
        assert re.fullmatch(
            r'attachment; filename="[a-z-]+-\d{4}-\d\d-\d\d\.json"', answer.headers["Content-Disposition"]
        )
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert NUMBER[1:] not in answer.text
        assert NUMBER[3:] not in answer.text
    assert [one[1] for one in office.looks()] == ["compliance", "export", "dispute-pack"]


def test_the_export_is_what_the_application_hears_over_http(office):
    suppress(office, "shop", "by phone")
    office.ledger.verifications.record([started(number=office.number.pseudonym)])
    desk = office.person("bilal", Role.COMPLIANCE, "shop")
    desk.look()
    here = desk.do("export").json["applications"]["shop"]
    told = export_answer(export(office.context, office.number, "shop"))
    assert here == type_adapter(SubjectExportAnswer).dump_python(told, mode="json")
    assert [one["view"] for one in here["looks"]] == ["compliance", "export"]


# --- pages ---


def test_nothing_that_somebody_typed_is_more_than_text(office):
    desk, second = office.person("ayesha"), office.person("zain")
    suppress(office, "shop", EVIL)
    desk.look(reason=EVIL)
    desk.ask(reason=EVIL)
    pages = [second.look(), second.browser.get("/compliance").text, desk.browser.get(desk.path).text]

    for page in pages:
        assert "<b>" not in page
        assert f"<bdi>{SHOWN}</bdi>" in page
        assert "style=" not in page
        assert "<script" not in page
        assert len(page.encode()) < 150_000


def test_the_first_page_tells_what_was_done_how_long_data_are_kept_and_how_far_the_chain_is_signed(office):
    desk = office.person("ayesha")
    desk.look()
    desk.do("freeze", application="shop", reason="x")
    page = desk.browser.get("/compliance").text

    assert "<code>subject-frozen</code>" in page
    assert "console:ayesha" in page
    assert "otp-service audit verify" in page
    assert "No head was signed yet." in page
    for name in PURGE_RULES:
        assert (
            f'<th scope="row">{name}</th><td class="number">{getattr(office.installation.settings.retention, name)}'
            in page
        )
    assert page.count("<caption") == page.count("<table")


def test_who_looks_at_many_numbers_is_told_first(office):
    desk, other = office.person("ayesha"), office.person("omar")
    for last in range(5):
        other.look(f"+92300123456{last}")
    desk.look()
    desk.look()
    page = desk.browser.get("/compliance").text
    rows = re.findall(
        r'<th scope="row"><bdi>(\w+)</bdi></th><td class="number">(\d+)</td><td class="number">(\d+)</td>', page
    )

    assert rows == [("omar", "5", "5"), ("ayesha", "1", "1")]


def test_a_forged_act_is_told_as_such(office):
    row = {"id": "x", "at": now(), "action": "subject-erased", "by": EVIL, "application": EVIL, "target": EVIL}
    with office.ledger.database.write() as connection:
        connection.execute(insert(operator_actions), row)
    page = office.person("ayesha").browser.get("/compliance").text

    assert '<tr class="worst">' in page
    assert "unknown" in page
    assert "<b>" not in page


def test_pages_stay_small_however_much_is_held(office):
    pseudonym = office.number.pseudonym
    for number in range(150):
        suppress(office, "shop", f"reason {number} {'x' * 150}")
        NumberViews(office.ledger.database).record(replace(LOOK, pseudonym=pseudonym))
        DualControlRequests(office.ledger.database).ask(replace(REQUEST, pseudonym=pseudonym))
    desk = office.person("ayesha")

    assert len(desk.look().encode()) < 150_000
    assert len(desk.browser.get("/compliance").text.encode()) < 150_000


def test_what_pages_say_and_all_words_of_the_ledger_are_translated():
    words = {NAME_RULE, *map(str, PURGE_RULES), *map(str, DualControlAction)}
    words |= {*map(str, SuppressionScope), *map(str, SuppressionSource), *map(str, AuditStatus)}
    words |= {
        "open",
        "over",
        "taken",
        "done",
        "nothing-left",
        "declined",
        "compliance",
        "export",
        "decision",
        "dispute-pack",
    }

    assert words - catalogue("ur").keys() == set()


def test_pages_are_shown_in_urdu(office):
    desk = office.person("ayesha")
    desk.look()
    desk.browser.post("/language", language="ur")
    for path in (desk.path, "/compliance"):
        page = desk.browser.get(path).text
        assert 'dir="rtl"' in page
        assert "Suppressions and freezes" not in page
        assert catalogue("ur")["Second person"] in page
        assert page.count("<time ") == page.count(' dir="ltr"') > 0  # else day and hour change places
