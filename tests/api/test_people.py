"""Consents, suppressions and rights over HTTP: inside the caller's application, and the number never in an answer."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from support_api import START, Api
from support_events import record_events
from support_installation import BANK_KEY, NUMBER, World
from support_records import entries_of

from otp_service.console.records import (
    DualControlAction,
    DualControlRequest,
    DualControlRequests,
    NumberView,
    NumberViews,
)
from otp_service.domain.consents import EVERY_APPLICATION
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import LedgerUnavailableError
from otp_service.services.audit import AuditProgress, verify_chain
from otp_service.services.events import record_events as record
from otp_service.store import keys

CONSENT = {
    "text_version": "2026-11",
    "text_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "locale": "ur-PK",
    "channel": "web",
    "given_at": "2026-11-24T22:00:00Z",
    "source": "checkout",
}
MASK = "+92 ••• ••••567"


class Both:
    """Two applications of one installation: the shop needs consents, the bank keeps none."""

    def __init__(self, world: World, consent: str = "required", bank: str = "off") -> None:
        one = Api(world)
        modes = {"shop": consent, "bank": bank}
        sections = one.installation.settings.applications
        applications = {
            name: {**sections[name].model_dump(mode="json", exclude_none=True), "consent": mode}
            for name, mode in modes.items()
        }
        self.shop = Api(world, applications=applications, keys=_keys(one))
        self.shop.installation.context.mirror_sync.refresh()
        self.bank = Api.__new__(Api)
        self.bank.__dict__ = {**self.shop.__dict__, "key": BANK_KEY}


def _keys(api: Api) -> dict[str, str]:
    keys = api.installation.settings.keys
    return {"root": keys.root.get_secret_value(), "pseudonym": keys.pseudonym.get_secret_value()}


@pytest.fixture
def both(world: World) -> Both:
    return Both(world)


def put(api: Api, path: str, **members):
    return api.call("PUT", path, json={"to": NUMBER, **members})


def post(api: Api, path: str, **members):
    return api.post(path, {"to": NUMBER, **members})


def begin(api: Api, **members):
    return post(api, START, **members)


# --- consents ------------------------------------------------------------------------------------------------


def test_without_a_consent_nothing_is_sent_and_nothing_is_spent(both):
    client = both.shop.world.client
    before = {name: client.dump(name) for name in client.scan_iter()}
    refused = begin(both.shop)

    assert (refused.status_code, refused.json["code"]) == (422, "consent-required")
    assert {name: client.dump(name) for name in client.scan_iter()} == before


def test_an_export_shows_the_exact_words_and_the_time(both):
    assert put(both.shop, "/v1/consents", **CONSENT, client_ip="203.0.113.77").status_code == 200
    assert begin(both.shop).status_code == 201
    (entry,) = post(both.shop, "/v1/subjects/export").json["consents"]

    assert {name: entry[name] for name in CONSENT} == CONSENT
    assert (entry["status"], entry["address_prefix"]) == ("given", "203.0.113.0/24")


def test_an_export_tells_who_looked_at_the_operators_console(both):
    context = both.shop.installation.context
    mine, other = (subject_key(context.keyring, parse_destination(one, None)) for one in (NUMBER, "+923007654321"))
    for number in (mine, other):
        NumberViews(context.ledger.database).record(NumberView("ayesha", "find", number.pseudonym, "case A-17"))
    (look,) = post(both.shop, "/v1/subjects/export").json["looks"]

    assert look | {"at": ""} == {"at": "", "by": "ayesha", "view": "find", "reason": "case A-17"}
    assert look["at"].endswith("Z")


def test_an_export_tells_what_two_people_were_asked_for(both):
    context = both.shop.installation.context
    requests, pseudonym = DualControlRequests(context.ledger.database), context.keyring.pseudonym(NUMBER)
    for application in ("shop", EVERY_APPLICATION, "bank"):
        wanted = DualControlRequest(DualControlAction.ERASE, pseudonym, application, "ayesha", "case A-17")
        requests.decline(requests.ask(wanted), "zain")
    requests.ask(DualControlRequest(DualControlAction.UNFREEZE, pseudonym, "shop", "ayesha", "case A-18"))
    told = post(both.shop, "/v1/subjects/export").json["second_person_requests"]
    declined, (asked,) = ([one for one in told if one["act"] == act] for act in ("erase", "unfreeze"))

    assert [(one["by"], one["act"], one["decided_by"], one["outcome"]) for one in declined] == [
        ("ayesha", "erase", "zain", "declined")
    ] * 2
    assert all(one["decided_at"].endswith("Z") for one in declined)
    assert asked | {"at": ""} == {
        "at": "", "by": "ayesha", "act": "unfreeze", "reason": "case A-18",
        "decided_at": None, "decided_by": None, "outcome": None,
    }  # fmt: skip


def test_an_erasure_takes_why_somebody_looked_or_asked_and_the_audit_chain_agrees(both):
    context = both.shop.installation.context
    ledger, pseudonym = context.ledger, context.keyring.pseudonym(NUMBER)
    NumberViews(ledger.database).record(NumberView("ayesha", "find", pseudonym, "told by Bilal"))
    NumberViews(ledger.database).record(NumberView("ayesha", "find", "x" * 22, "another person's"))
    for application in ("shop", "bank"):
        DualControlRequests(ledger.database).ask(
            DualControlRequest(DualControlAction.ERASE, pseudonym, application, "ayesha", "told by Bilal")
        )
    done = post(both.shop, "/v1/subjects/erase").json

    assert (done["erased"]["looks"], done["erased"]["second_person_requests"]) == (1, 1)
    assert {one.reason for one in NumberViews(ledger.database).latest(9)} == {"", "another person's"}
    assert {one.application: one.reason for one in DualControlRequests(ledger.database).latest(9)} == {
        "shop": "", "bank": "told by Bilal",
    }  # fmt: skip
    assert list(verify_chain(context, AuditProgress())) == []


def test_a_withdrawal_counts_at_once_and_both_entries_stay(both):
    put(both.shop, "/v1/consents", **CONSENT)
    shown = post(both.shop, "/v1/consents/withdraw")

    assert (shown.json["status"], shown.json["to"]) == ("withdrawn", MASK)
    assert [one["status"] for one in shown.json["entries"]] == ["given", "withdrawn"]
    assert begin(both.shop).json["code"] == "consent-required"
    assert post(both.shop, "/v1/consents/find").json == shown.json


def test_a_start_may_bring_its_consent(both):
    assert begin(both.shop, consent=CONSENT).status_code == 201


def ago(seconds: float) -> dict[str, str]:
    """Return a consent that was given some seconds ago."""
    given = datetime.now(UTC) - timedelta(seconds=seconds)
    return {**CONSENT, "given_at": given.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def begin_with(both, consent, **members) -> tuple[int, str | None]:
    answer = begin(both.shop, consent=consent, **members)
    return answer.status_code, answer.json.get("code")


OUTDATED = (422, "consent-outdated")


@pytest.mark.parametrize("mode", ["required", "recorded"])
@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "the recorder is late"])
@pytest.mark.parametrize("seconds", [86400, 0, -200], ids=["long ago", "just now", "by a clock that is ahead"])
def test_a_start_with_the_consent_it_always_carried_undoes_no_withdrawal(world, mode, recorded, seconds):
    both, always = Both(world, mode), ago(seconds)
    assert begin_with(both, always)[0] == begin_with(both, always)[0] == 201
    if recorded:
        record_events(both.shop.installation.context)
    post(both.shop, "/v1/consents/withdraw")

    assert begin_with(both, always) == OUTDATED
    record_events(both.shop.installation.context)
    assert begin_with(both, always) == OUTDATED
    assert [one["status"] for one in found(both)] == ["given", "withdrawn"]


def found(both) -> list[dict[str, str]]:
    return post(both.shop, "/v1/consents/find").json["entries"]


@pytest.mark.parametrize("seconds", [86400, 0, -200], ids=["long ago", "just now", "by a clock that is ahead"])
def test_an_old_consent_that_is_recorded_again_undoes_no_withdrawal(both, seconds):
    old = ago(seconds)
    put(both.shop, "/v1/consents", **old)
    post(both.shop, "/v1/consents/withdraw")
    refused = put(both.shop, "/v1/consents", **old)

    assert (refused.status_code, refused.json["code"]) == OUTDATED
    assert len(found(both)) == 2
    assert begin(both.shop).json["code"] == "consent-required"


def test_a_consent_that_was_given_before_the_withdrawal_and_never_shown_is_outdated_too(both):
    post(both.shop, "/v1/consents/withdraw")

    assert begin_with(both, ago(1)) == OUTDATED
    assert put(both.shop, "/v1/consents", **ago(1)).json["code"] == OUTDATED[1]


def test_who_agrees_anew_gets_messages_again(both):
    put(both.shop, "/v1/consents", **ago(60))
    post(both.shop, "/v1/consents/withdraw")
    time.sleep(0.01)

    assert begin_with(both, ago(0))[0] == 201
    record_events(both.shop.installation.context)
    assert [one["status"] for one in found(both)] == ["given", "withdrawn", "given"]
    assert begin(both.shop).status_code == 201
    post(both.shop, "/v1/consents/withdraw")
    time.sleep(0.01)
    assert put(both.shop, "/v1/consents", **ago(0)).json["status"] == "given"


def test_a_withdrawal_is_newer_than_a_consent_of_the_same_moment(both):
    post(both.shop, "/v1/consents/withdraw")
    at = found(both)[0]["recorded_at"]

    assert begin_with(both, {**CONSENT, "given_at": at}) == OUTDATED
    assert put(both.shop, "/v1/consents", **{**CONSENT, "given_at": at}).json["code"] == OUTDATED[1]


def test_the_last_consent_once_more_changes_nothing_and_an_older_one_is_refused(both):
    last, older = ago(60), ago(120)
    first = put(both.shop, "/v1/consents", **last).json
    again = put(both.shop, "/v1/consents", **last)
    refused = put(both.shop, "/v1/consents", **older)

    assert (again.status_code, again.json) == (200, first)
    assert (refused.status_code, refused.json["code"]) == OUTDATED
    assert begin_with(both, older)[0] == begin_with(both, last)[0] == 201, "there is one in force"
    record_events(both.shop.installation.context)
    assert found(both) == first["entries"]


def test_a_withdrawal_is_of_its_purpose_and_application_alone(world):
    both = Both(world, "required", bank="recorded")
    old = ago(60)
    post(both.shop, "/v1/consents/withdraw")
    payment = {"purpose": "payment", "transaction": {"amount": "1", "currency": "PKR", "payee": "Daraz"}}

    assert begin_with(both, old, **payment)[0] == 201
    assert put(both.bank, "/v1/consents", **old).status_code == 200
    assert begin_with(both, old) == OUTDATED


def test_a_consent_is_for_one_purpose(both):
    put(both.shop, "/v1/consents", **CONSENT)
    payment = {"amount": "1", "currency": "PKR", "payee": "Daraz"}

    assert begin(both.shop, purpose="payment", transaction=payment).json["code"] == "consent-required"


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"text_sha256": "ABC"}, "/consent/text_sha256"),
        ({"given_at": "yesterday"}, "/consent/given_at"),
        ({"given_at": "2026-02-30T00:00:00Z"}, "/consent/given_at"),
        ({"locale": "in Urdu"}, "/consent/locale"),
        ({"text": "I agree"}, "/consent/text"),
        ({"source": "a\nb"}, "/consent/source"),
    ],
)
def test_a_consent_that_shows_nothing_is_refused(both, members, pointer):
    refused = begin(both.shop, consent={**CONSENT, **members})

    assert refused.status_code == 400
    assert [one["pointer"] for one in refused.json["errors"]] == [pointer]


def test_a_consent_that_was_given_in_the_future_is_refused(both):
    refused = begin(both.shop, consent={**CONSENT, "given_at": "2999-01-01T00:00:00Z"})

    assert (refused.status_code, refused.json["code"]) == (422, "invalid-time")


def test_an_application_that_keeps_no_consents_does_not_seem_to(both):
    answers = [
        begin(both.bank, consent=CONSENT),
        put(both.bank, "/v1/consents", **CONSENT),
        post(both.bank, "/v1/consents/withdraw"),
        post(both.bank, "/v1/consents/find"),
    ]

    assert [(one.status_code, one.json["code"]) for one in answers] == [(422, "consent-not-kept")] * 4


def test_a_purpose_that_is_not_the_applications_is_forbidden(both):
    assert put(both.shop, "/v1/consents", **CONSENT, purpose="other").json["code"] == "forbidden"


# --- suppressions --------------------------------------------------------------------------------------------


def test_a_suppressed_number_gets_nothing_of_the_application_and_all_of_another(world):
    both = Both(world, "off")
    shown = put(both.shop, "/v1/suppressions", reason="asked by phone")

    assert (shown.json["to"], shown.json["suppressed"]) == (MASK, True)
    assert (begin(both.shop).status_code, begin(both.shop).json["code"]) == (403, "recipient-suppressed")
    assert begin(both.bank).status_code == 201
    assert post(both.bank, "/v1/suppressions/find").json == {
        "to": MASK, "suppressed": False, "frozen": False, "entries": [],
    }  # fmt: skip


def test_one_application_lifts_nothing_of_another(world):
    both = Both(world, "off")
    put(both.shop, "/v1/suppressions")
    post(both.bank, "/v1/suppressions/lift")
    assert begin(both.shop).status_code == 403

    shown = post(both.shop, "/v1/suppressions/lift")
    assert [one["lifted"] for one in shown.json["entries"]] == [False, True]
    assert begin(both.shop).status_code == 201


def test_a_list_for_marketing_leaves_codes_alone(world):
    both = Both(world, "off")

    assert put(both.shop, "/v1/suppressions", scope="marketing_only").json["suppressed"] is False
    assert begin(both.shop).status_code == 201


def test_a_suppression_may_end_by_itself(world):
    both = Both(world, "off")

    refused = put(both.shop, "/v1/suppressions", until="2020-01-01T00:00:00Z")
    assert (refused.status_code, refused.json["code"]) == (422, "invalid-time")
    assert put(both.shop, "/v1/suppressions", until="2999-01-01T00:00:00Z").json["suppressed"] is True
    assert begin(both.shop).status_code == 403


def soon() -> str:
    """Return a time that is over in a second."""
    return (datetime.now(UTC) + timedelta(seconds=1)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_an_end_does_not_shorten_what_was_said_before(world):
    both = Both(world, "off")
    put(both.shop, "/v1/suppressions")

    assert put(both.shop, "/v1/suppressions", until=soon()).json["suppressed"] is True
    time.sleep(1.1)
    assert begin(both.shop).status_code == 403


# --- rights --------------------------------------------------------------------------------------------------


def test_an_application_sees_and_erases_nothing_of_another(both):
    put(both.shop, "/v1/consents", **CONSENT, client_ip="203.0.113.77")
    put(both.shop, "/v1/suppressions")
    empty = post(both.bank, "/v1/subjects/export").json
    post(both.bank, "/v1/subjects/erase")
    mine = post(both.shop, "/v1/subjects/export").json

    assert {name: value for name, value in empty.items() if value and name != "to"} == {}
    assert mine["consents"][0]["address_prefix"] == "203.0.113.0/24"
    assert mine["erasures"] == []


def test_an_erasure_keeps_what_a_dispute_needs_and_buys_no_guess(world):
    both = Both(world, "off")
    one = begin(both.shop).json["id"]
    for _ in range(3):
        both.shop.post(f"/v1/verifications/{one}/check", {"code": both.shop.wrong(one)})
    put(both.shop, "/v1/suppressions")
    before = both.shop.get(f"/v1/verifications/{one}").json["checks_left"]
    numbers = {n: both.shop.world.client.dump(n) for n in both.shop.world.client.scan_iter(match="*:number:*")}
    done = post(both.shop, "/v1/subjects/erase")

    assert len(numbers) == 1
    assert {n: both.shop.world.client.dump(n) for n in numbers} == numbers
    assert before == 2
    assert both.shop.get(f"/v1/verifications/{one}").json["status"] == "canceled"
    assert begin(both.shop).json["code"] == "recipient-suppressed"
    assert "dispute" in done.json["reason"]
    (erasure,) = post(both.shop, "/v1/subjects/export").json["erasures"]
    assert erasure["kept"]["suppressions"] == 1


WRITTEN = {"source": "told by Bilal", "text_version": "letter to Bilal"}


def in_redis(client) -> bytes:
    """Return all that the event stream holds."""
    return repr(entries_of(client, keys.events("00"))).encode()


@pytest.mark.parametrize("path", ["/v1/consents/find", "/v1/subjects/export"])
def test_an_erasure_takes_what_waits_to_be_recorded_and_the_recorder_brings_nothing_back(world, path):
    both = Both(world, "recorded", bank="recorded")
    context, client = both.shop.installation.context, world.client
    for one in (both.shop, both.bank):
        started = begin(one, consent={**CONSENT, **WRITTEN}, client_ip="203.0.113.77")
        assert started.status_code == 201
    (taken,) = context.store.events.take("slow", 1000)
    assert (in_redis(client).count(b"203.0.113.0/24"), in_redis(client).count(b"told by Bilal")) == (1, 2)
    done = post(both.shop, "/v1/subjects/erase")
    assert done.status_code == 200
    assert (in_redis(client).count(b"203.0.113.0/24"), in_redis(client).count(b"told by Bilal")) == (0, 1)

    record(context, taken.events)
    context.store.events.acknowledge(taken)
    assert (in_redis(client).count(b"203.0.113.0/24"), in_redis(client).count(b"Bilal")) == (0, 0)
    shown = post(both.shop, path).json
    (entry,) = shown["entries"] if "entries" in shown else shown["consents"]
    assert (entry["address_prefix"], entry["source"], entry["text_version"]) == (None, "", "")
    assert entry["text_sha256"] == CONSENT["text_sha256"]
    assert post(both.bank, "/v1/consents/find").json["entries"][0]["source"] == WRITTEN["source"]


def test_an_erasure_takes_what_callers_wrote(both):
    put(both.shop, "/v1/consents", **{**CONSENT, **WRITTEN}, client_ip="203.0.113.77")
    put(both.shop, "/v1/suppressions", reason="told by Bilal")
    post(both.shop, "/v1/subjects/freeze", reason="told by Bilal")
    done = post(both.shop, "/v1/subjects/erase")

    assert done.json["erased"] == {
        "consents": 1,
        "suppressions": 2,
        "inbound": 0,
        "looks": 0,
        "second_person_requests": 0,
    }
    assert "Bilal" not in post(both.shop, "/v1/subjects/export").text
    assert begin(both.shop).json["code"] == "recipient-frozen"


def test_a_consent_that_came_with_a_start_is_in_redis_until_it_is_recorded_and_no_longer(world):
    both = Both(world, "recorded")
    begin(both.shop, consent={**CONSENT, **WRITTEN}, client_ip="203.0.113.77")
    record_events(both.shop.installation.context)

    assert b"Bilal" not in in_redis(world.client)
    assert b"verification.started" in in_redis(world.client)


@pytest.mark.parametrize("path", ["/v1/consents/find", "/v1/suppressions/find", "/v1/subjects/export"])
def test_a_number_is_read_strictly_and_never_in_a_url(both, path):
    assert both.shop.post(path, {"to": "123"}).json["code"] == "invalid-number"
    assert both.shop.post(path, {"to": NUMBER, "region": "XX"}).status_code == 400
    assert both.shop.post(path, {"to": NUMBER, "more": 1}).status_code == 400
    assert both.shop.post(f"{path}?to={NUMBER}", {"to": NUMBER}).status_code == 400
    assert both.shop.get(path).status_code in {404, 405}


def test_no_answer_holds_the_number(both):
    put(both.shop, "/v1/consents", **CONSENT)
    put(both.shop, "/v1/suppressions")
    begin(both.shop)
    texts = [
        post(both.shop, path).text for path in ("/v1/consents/find", "/v1/suppressions/find", "/v1/subjects/export")
    ]

    assert all(NUMBER[-7:] not in text and MASK in text for text in texts)


def test_a_ledger_that_is_away_is_told(both, monkeypatch):
    def away(*_):
        raise LedgerUnavailableError("The ledger does not answer.")

    put(both.shop, "/v1/consents", **CONSENT)
    for part in (both.shop.installation.context.ledger.consents, both.shop.installation.context.ledger.subjects):
        for name in ("add", "of", "export"):
            if hasattr(part, name):
                monkeypatch.setattr(type(part), name, away)
    refused = post(both.shop, "/v1/subjects/export")

    assert (refused.status_code, refused.json["code"]) == (503, "ledger-unavailable")
    assert refused.headers["Retry-After"] == "1"
    assert begin(both.shop).status_code == 201, "starts do not ask it"


NUMBERS = ["0300 123 4567", "0300-123-4567", "۰۳۰۰ ۱۲۳ ۴۵۶۷", "0 3 0 0 1 2 3 4 5 6 7", "2026-11-24 0300 123 4567"]


@pytest.mark.parametrize("text", NUMBERS)
def test_no_text_that_is_kept_may_hold_a_number(both, text):
    written = {
        name: value
        for name, value in (("source", text), ("text_version", text), ("channel", text), ("locale", f"en-{text}"))
        if name not in {"channel", "locale"} or text == "0300-123-4567"
    }
    for name, value in written.items():
        answers = {
            f"/{name}": put(both.shop, "/v1/consents", **{**CONSENT, name: value}),
            f"/consent/{name}": begin(both.shop, consent={**CONSENT, name: value}),
        }
        for pointer, answer in answers.items():
            assert (answer.status_code, [one["pointer"] for one in answer.json["errors"]]) == (400, [pointer])
            assert "number" in answer.json["errors"][0]["message"]
    for call, path in (("PUT", "/v1/suppressions"), ("POST", "/v1/subjects/freeze")):
        answer = both.shop.call(call, path, json={"to": NUMBER, "reason": text})
        assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (400, "/reason")
    lifted = post(both.shop, "/v1/suppressions/lift", consent={**CONSENT, "source": text})
    assert lifted.json["errors"][0]["pointer"] == "/consent/source"


@pytest.mark.parametrize("text", ["2026-11-24", "v2 of 24.11.2026", "20261124", "صفحہ ۱۲"])
def test_a_text_that_is_kept_may_hold_a_date(both, text):
    assert put(both.shop, "/v1/consents", **{**ago(0), "source": text, "text_version": text}).status_code == 200
    assert put(both.shop, "/v1/suppressions", reason=text).status_code == 200


@pytest.mark.parametrize("text", ["call from +923001234567", "a\u202eb", "a\x9bb", "a\u2028b"])
def test_a_text_that_is_kept_holds_no_number_and_nothing_that_a_terminal_obeys(both, text):
    consent = {**CONSENT, "source": text}
    answers = [put(both.shop, "/v1/suppressions", reason=text), put(both.shop, "/v1/consents", **consent)]

    assert [one.status_code for one in answers] == [400, 400]
    assert [one.json["errors"][0]["pointer"] for one in answers] == ["/reason", "/source"]
