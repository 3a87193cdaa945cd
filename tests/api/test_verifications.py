"""The exact answers of every call on verifications."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from support_api import START, Api, code_of
from support_installation import BANK_KEY, NUMBER, TRANSACTION, World

ID = re.compile(r"vf_k1_[0-9a-f]{34}")
TIME = "%Y-%m-%dT%H:%M:%SZ"


def _time(text: str) -> datetime:
    return datetime.strptime(text, TIME).replace(tzinfo=UTC)


def test_a_start_shows_the_whole_verification(api: Api):
    answer = api.post(START, {"to": "0300 1234567", "metadata": {"cart": "17"}})
    body = answer.json
    created = _time(body["created_at"])

    assert answer.status_code == 201
    assert answer.mimetype == "application/json"
    assert ID.fullmatch(body["id"])
    assert answer.headers["Location"] == f"{START}/{body['id']}"
    assert body == {
        "id": body["id"],
        "status": "pending",
        "to": "+92 ••• ••••567",
        "country": "PK",
        "channel": "sms",
        "purpose": "login",
        "locale": "en",
        "created_at": body["created_at"],
        "expires_at": (created + timedelta(seconds=300)).strftime(TIME),
        "checks_left": 5,
        "sends_left": 2,
        "resend_after": body["resend_after"],
        "transaction": None,
        "metadata": {"cart": "17"},
        "user": None,
        "destination": NUMBER,
        "client_token": None,
        "page": None,
        "deliveries": [
            {
                "channel": "sms",
                "gateway": None,
                "status": "queued",
                "at": body["created_at"],
                "reason": None,
                "message": 1,
                "choice": None,
                "begun_at": body["created_at"],
                "raw_status": None,
            }
        ],
    }
    assert list(body) == [
        "id", "status", "to", "country", "channel", "purpose", "locale", "created_at", "expires_at", "checks_left",
        "sends_left", "resend_after", "transaction", "metadata", "user", "page", "deliveries",
        "destination", "client_token",
    ]  # fmt: skip


def test_the_time_that_is_told_for_a_resend_is_never_too_early(api: Api):
    one = api.post(START, {"to": NUMBER}).json
    record = api._caller.read(one["id"]).verification
    told = _time(one["resend_after"]).timestamp() * 1000

    assert 0 <= told - (record.created + 30_000) < 1000


def test_a_transaction_comes_back_in_canonical_form(api: Api):
    transaction = {"amount": "1500", "currency": "PKR", "payee": "Daraz", "account": "4821"}
    answer = api.post(START, {"to": NUMBER, "purpose": "payment", "transaction": transaction})

    assert answer.json["transaction"] == {
        "amount": "1500.00",
        "currency": "PKR",
        "payee": "Daraz",
        "account": "4821",
        "reference": None,
    }


def test_null_means_that_an_optional_member_is_absent(api: Api):
    body = {"to": NUMBER, "region": None, "channel": None, "locale": None, "transaction": None, "metadata": None}

    assert api.post(START, body).status_code == 201


def test_all_members_of_a_start_are_taken(api: Api):
    members = {
        "region": "PK", "channel": "voice", "purpose": "login", "locale": "ur-PK", "client_ip": "2001:db8::1",
        "context": "device 7 ✓", "metadata": {str(place): "x" * 200 for place in range(10)},
    }  # fmt: skip
    answer = api.post(START, {"to": "03001234567", **members})

    assert answer.status_code == 201
    assert (answer.json["channel"], answer.json["metadata"]) == ("voice", members["metadata"])


def test_reading_shows_what_the_start_showed(api: Api):
    started = api.post(START, {"to": NUMBER})

    answer = api.get(started.headers["Location"])

    assert answer.status_code == 200
    alone = {"client_token", "destination"}
    assert answer.json == {name: value for name, value in started.json.items() if name not in alone}


def test_a_dispatch_is_shown_with_its_gateway(api: Api):
    one = api.start()
    api.deliver()
    (delivery,) = api.get(f"{START}/{one}").json["deliveries"]

    assert delivery == {
        "channel": "sms", "gateway": "sandbox", "status": "sent", "at": delivery["at"], "reason": None,
        "message": 1, "choice": "configured", "begun_at": delivery["begun_at"], "raw_status": None,
    }  # fmt: skip
    assert _time(delivery["begun_at"]) <= _time(delivery["at"])
    caught = api.get(f"/v1/sandbox/messages?verification={one}").json
    assert caught == [
        {
            "verification": one,
            "to": "+92 ••• ••••567",
            "channel": "sms",
            "sender": None,
            "text": caught[0]["text"],
            "at": caught[0]["at"],
        }
    ]
    assert api.code(one) in caught[0]["text"]
    assert api.get("/v1/sandbox/messages").json == caught
    assert api.get("/v1/sandbox/messages?verification=vf_of_nobody").json == []


def test_a_wrong_code_is_a_result(api: Api):
    one = api.start()
    answer = api.post(f"{START}/{one}/check", {"code": api.wrong(one)})

    assert answer.status_code == 200
    assert answer.json == {
        "id": one,
        "status": "pending",
        "valid": False,
        "checks_left": 4,
        "reason": "wrong_code",
        "proof": None,
    }


def test_a_right_code_is_approved_once(api: Api):
    one = api.start()
    body = {"code": api.code(one)}
    first, second = (api.post(f"{START}/{one}/check", body).json for _ in range(2))

    assert first == {"id": one, "status": "approved", "valid": True, "checks_left": 4, "reason": None, "proof": None}
    assert (second["status"], second["valid"], second["reason"]) == ("approved", False, "already_approved")


@pytest.mark.parametrize("zero", ["۰", "٠", "０"])  # Urdu, Arabic, full-width
def test_digits_of_any_script_are_the_code(api: Api, zero: str):
    one = api.start()
    typed = " ".join(chr(ord(zero) + int(digit)) for digit in api.code(one))

    assert api.post(f"{START}/{one}/check", {"code": f" {typed} "}).json["valid"]


def test_a_payment_is_approved_with_the_same_transaction_only(api: Api):
    one = api.start(purpose="payment", transaction=TRANSACTION)
    code = api.code(one)
    other = api.start("+923001234568", purpose="payment", transaction=TRANSACTION)

    assert api.post(f"{START}/{one}/check", {"code": code, "transaction": TRANSACTION}).json["valid"]
    changed = {**TRANSACTION, "amount": "1500.01"}
    answer = api.post(f"{START}/{other}/check", {"code": api.code(other), "transaction": changed})
    assert answer.json == {
        "id": other,
        "status": "failed",
        "valid": False,
        "checks_left": 0,
        "reason": "transaction_changed",
        "proof": None,
    }


@pytest.mark.parametrize("body", [None, {}, {"channel": "voice"}, {"channel": None}])
def test_a_resend_is_accepted_and_shows_the_verification(real_world: World, body: dict | None):
    api = Api(real_world, purposes={"login": {"resend_delays": [0]}})
    one = api.start()

    answer = api.post(f"{START}/{one}/resend", body)

    assert answer.status_code == 202
    assert "Location" not in answer.headers
    assert (answer.json["id"], answer.json["sends_left"]) == (one, 1)
    channel = (body or {}).get("channel") or "sms"
    assert [delivery["channel"] for delivery in answer.json["deliveries"]] == ["sms", channel]


@pytest.mark.parametrize("body", [None, {}])
def test_a_cancel_shows_the_canceled_verification(api: Api, body: dict | None):
    one = api.start()

    answer = api.post(f"{START}/{one}/cancel", body)

    assert answer.status_code == 200
    ended = {"status": "canceled", "checks_left": 0, "sends_left": 0, "resend_after": None}
    assert {name: answer.json[name] for name in ended} == ended


@pytest.mark.parametrize("call", ["", "/check", "/resend", "/cancel"])
def test_an_unknown_id_and_one_of_another_application_are_answered_alike(api: Api, call: str):
    bank = Api(api.world, BANK_KEY)
    bank.app = api.app
    bank.client = api.client
    one = api.start()
    method, body = ("GET", None) if not call else ("POST", {"code": "123456"} if call == "/check" else {})

    answers = [
        bank.call(method, f"{START}/{known}{call}", json=body)
        for known in (one, one[:-1] + ("0" if one[-1] != "0" else "1"), "vf_k9_00" + "0" * 32, "nothing", "*", "{00}:x")
    ]

    assert {(code_of(answer), answer.text) for answer in answers} == {((404, "not-found"), answers[0].text)}


def test_the_applications_own_quota_is_told_with_what_spends_it(real_world: World):
    api = Api(real_world, limits={"application": ["3/minute"]}, purposes={"login": {"resend_delays": [0]}})
    started = api.post(START, {"to": NUMBER})
    resent = api.post(f"{started.headers['Location']}/resend")
    read = api.get(started.headers["Location"])

    assert started.headers["RateLimit-Policy"] == '"application";q=3;w=60'
    assert re.fullmatch(r'"application";r=2;t=\d{1,2}', started.headers["RateLimit"])
    assert re.fullmatch(r'"application";r=1;t=\d{1,2}', resent.headers["RateLimit"])
    assert "RateLimit" not in read.headers


def test_a_check_counts_no_quota_and_a_repeated_start_tells_none(api: Api):
    first, again = (api.post(START, {"to": NUMBER}, Idempotency_Key="one") for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json == first.json
    assert again.headers["Location"] == first.headers["Location"]
    assert "RateLimit" not in again.headers


def test_an_approval_whose_answer_was_lost_can_be_asked_for_again(api: Api):
    one = api.start()
    body = {"code": api.code(one)}
    answers = [api.post(f"{START}/{one}/check", body, Idempotency_Key='"k"').json for _ in range(3)]

    assert [answer["valid"] for answer in answers] == [True, True, True]


@pytest.mark.parametrize("call", ["resend", "cancel"])
def test_an_absent_body_and_an_empty_object_are_the_same_request(real_world: World, call: str):
    api = Api(real_world, purposes={"login": {"resend_delays": [0]}})
    one = api.start()
    answers = [api.post(f"{START}/{one}/{call}", body, Idempotency_Key="k") for body in (None, {}, None)]

    assert {answer.status_code for answer in answers} == {202 if call == "resend" else 200}
    assert api.get(f"{START}/{one}").json["sends_left"] == (1 if call == "resend" else 0)


def test_a_key_stands_for_one_call_on_one_verification(api: Api):
    one, other = api.start(), api.start("+923001234568")
    body = {"code": "000000"}
    api.post(f"{START}/{one}/check", body, Idempotency_Key="k")

    assert code_of(api.post(f"{START}/{other}/check", body, Idempotency_Key="k")) == (422, "idempotency-mismatch")
    assert code_of(api.post(f"{START}/{one}/cancel", {}, Idempotency_Key="k")) == (422, "idempotency-mismatch")


def test_a_resend_and_a_cancel_with_one_key_are_two_requests(real_world: World):
    api = Api(real_world, purposes={"login": {"resend_delays": [0]}})
    one = api.start()
    api.post(f"{START}/{one}/resend", Idempotency_Key="k")

    assert code_of(api.post(f"{START}/{one}/cancel", Idempotency_Key="k")) == (422, "idempotency-mismatch")
