"""Calls as to Twilio Verify, by raw HTTP: what Twilio's libraries send, and what they would not."""

import base64
import re
from contextlib import closing
from io import StringIO
from urllib.parse import quote

import pytest
from support_api import START, Api
from support_installation import API_KEY, NUMBER, SPELLINGS, World, key, tree
from support_operators import Operators
from support_twilio import Facade, bank_of, basic, error_of, twilio_api

from otp_service.telemetry import metrics

GONE, INVALID, NOT_ENABLED = (404, 20404), (400, 60200), (403, 60204)
PAYMENT = {"Amount": "PKR 1,500", "Payee": "Daraz"}


@pytest.fixture
def api(real_world: World, hot_path: bool) -> Api:
    return twilio_api(real_world, hot_path=hot_path)


@pytest.fixture
def facade(api: Api) -> Facade:
    return Facade(api)


# --- who may call -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ====",
        "Basic é",
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Basic " + base64.b64encode(API_KEY.encode()).decode(),
        "Basic " + base64.b64encode(b"SK:nobody").decode(),
        basic()["Authorization"] + ", " + basic("nobody")["Authorization"],
        "Basic !" + basic()["Authorization"].removeprefix("Basic "),
        f"Bearer {API_KEY}",
        "Digest a=b",
    ],
)
@pytest.mark.parametrize("path", ["/Services", "/Nothing", "/Services/VA1/Verifications"])
def test_who_is_not_known_is_told_so_and_nothing_else(facade: Facade, path: str, header: str):
    for method in ("GET", "POST", "OPTIONS", "DELETE"):
        answer = facade.call(method, path, Authorization=header)
        assert error_of(answer) == (401, 20003)
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="otp-service"'


def test_the_user_of_basic_authentication_may_be_an_account_or_a_key(facade: Facade):
    sent = [basic(user=user) for user in ("AC" + 32 * "0", "SK" + 32 * "1", "")]
    found = [facade.call("GET", "/Services", **headers).json["services"][0]["account_sid"] for headers in sent]

    assert len(set(found)) == 1
    assert re.fullmatch("AC[0-9a-f]{32}", found[0])


def test_an_application_that_is_not_set_so_finds_nothing(real_world: World):
    api = Api(real_world)

    assert error_of(api.client.get("/twilio/v2/Services", headers=basic())) == GONE
    assert error_of(api.client.get("/twilio/v2/Nothing", headers=basic())) == GONE


@pytest.mark.parametrize(
    ("scope", "path", "allowed"),
    [
        ("verify", "/Services", True),
        ("factors", "/Services", False),
        ("consent", "/Services", False),
        ("verify", "/Services/VA/Entities/someone/Factors", False),
        ("factors", "/Services/VA/Entities/someone/Factors", True),
    ],
)
def test_a_key_needs_the_scope_and_its_address(
    real_world: World, ledger_url: str, scope: str, path: str, allowed: bool
):
    with closing(Operators(real_world, ledger_url)) as operators:
        operators.add("club", dialects=["twilio"])
        key = basic(operators.issue("club", scope)["secret"])
        elsewhere = basic(operators.issue("club", scope, addresses=("203.0.113.7",))["secret"])

        answer = operators.client.get(f"/twilio/v2{path}", headers=key)
        assert (answer.status_code != 403) is allowed
        if not allowed:
            assert error_of(answer) == NOT_ENABLED
        assert error_of(operators.client.get(f"/twilio/v2{path}", headers=elsewhere)) == (401, 20003)
        assert error_of(operators.client.get(f"/twilio/v2{path}", headers=basic(operators.key))) == NOT_ENABLED


# --- services -----------------------------------------------------------------------------------------------


def test_services_are_the_purposes_of_the_application_and_stay_the_same(facade: Facade, real_world: World):
    again = Facade(twilio_api(real_world))
    bank = bank_of(facade)

    assert facade.services.keys() == {"login", "payment"}
    assert again.services == facade.services
    assert not set(bank.services.values()) & set(facade.services.values())
    read = facade.get(f"/Services/{facade.services['payment']}").json
    assert (read["friendly_name"], read["code_length"], read["psd2_enabled"]) == ("payment", 6, True)
    assert error_of(facade.get(f"/Services/{bank.services['login']}")) == GONE
    assert error_of(facade.get("/Services/VA00")) == GONE


def test_services_come_in_pages(facade: Facade):
    first = facade.get("/Services?PageSize=1").json
    follow = first["meta"]["next_page_url"].partition("/v2")[2]
    second = facade.get(follow).json

    assert [one["friendly_name"] for page in (first, second) for one in page["services"]] == ["login", "payment"]
    assert first["meta"]["previous_page_url"] is None
    assert second["meta"]["next_page_url"] is None
    assert second["meta"]["previous_page_url"] == first["meta"]["url"] == first["meta"]["first_page_url"]
    assert facade.get("/Services?Page=9&PageToken=x&Other=1").json["services"] == []
    for query in ("PageSize=0", "PageSize=1001", "PageSize=x", "Page=-1", f"Page={'9' * 5000}"):
        assert error_of(facade.get(f"/Services?{query}")) == INVALID


def test_addresses_are_those_of_the_public_host(real_world: World):
    facade = Facade(twilio_api(real_world, http={"public_url": "https://otp.example/x"}))

    meta = facade.get("/Services?PageSize=1").json["meta"]
    assert meta["next_page_url"] == "https://otp.example/x/twilio/v2/Services?PageSize=1&Page=1"
    assert facade.start().json["url"].startswith("https://otp.example/x/twilio/v2/Services/VA")


# --- starts -------------------------------------------------------------------------------------------------


def test_a_start_is_answered_as_twilio_does(facade: Facade):
    answer = facade.start(Locale="en", Tags='{"a": "b"}')
    one = answer.json

    assert answer.status_code == 201
    assert re.fullmatch("VE[0-9a-f]{32}", one["sid"])
    assert (one["to"], one["channel"], one["status"], one["valid"]) == (NUMBER, "sms", "pending", False)
    assert one["service_sid"] == facade.services["login"]
    assert [attempt["channel"] for attempt in one["send_code_attempts"]] == ["sms"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one["date_created"])


def test_a_second_start_sends_the_same_verification_again_and_the_fourth_is_too_many(facade: Facade):
    sids = [facade.start(Channel=channel).json["sid"] for channel in ("sms", "call", "auto")]
    one = facade.fetch(sids[0]).json

    assert len(set(sids)) == 1
    assert [attempt["channel"] for attempt in one["send_code_attempts"]] == ["sms", "call", "call"]
    assert len({attempt["attempt_sid"] for attempt in one["send_code_attempts"]}) == 3
    assert error_of(facade.start()) == (429, 60203)


def test_a_second_start_that_comes_too_soon_says_how_long_to_wait(real_world: World):
    facade = Facade(twilio_api(real_world, purposes={"login": {"resend_delays": [30], "channels": ["sms"]}}))
    facade.start()

    answer = facade.start()
    assert error_of(answer) == (429, 20429)
    assert 28 <= int(answer.headers["Retry-After"]) <= 30


def test_after_an_end_a_start_is_a_new_verification(facade: Facade):
    first = facade.start().json["sid"]
    assert facade.check(facade.code(first)).json["valid"]
    second = facade.start().json["sid"]
    assert facade.call("POST", f"/Services/{facade.services['login']}/Verifications/{second}", {"Status": "canceled"})
    third = facade.start().json["sid"]

    assert len({first, second, third}) == 3


def test_verifications_of_the_api_and_as_to_twilio_are_the_same(facade: Facade):
    of_api = facade.api.start()
    assert facade.id_of(facade.start().json["sid"]) == of_api
    assert facade.api.get(f"{START}/{of_api}").json["sends_left"] == 1

    other = facade.api.start()  # the API does not look for a pending one
    assert facade.id_of(facade.fetch(NUMBER).json["sid"]) == other


def test_another_payment_is_another_verification_and_its_repetition_is_not(facade: Facade):
    first = facade.start("payment", **PAYMENT).json["sid"]
    second = facade.start("payment", **PAYMENT, Tags="x").status_code  # too soon: the same one
    other = facade.start("payment", Amount="1600.00 PKR", Payee="Daraz").json

    assert second == 429
    assert other["sid"] != first
    assert (other["amount"], other["payee"]) == ("1600.00 PKR", "Daraz")
    assert facade.check(facade.code(other["sid"]), "payment", Amount="PKR 1,600.00", Payee="Daraz").json["valid"]


@pytest.mark.parametrize(
    ("amount", "canonical"),
    [
        ("PKR 1500", "1500.00"),
        ("1500.5 PKR", "1500.50"),
        ("PKR1,500.00", "1500.00"),
        ("1,50,000PKR", "150000.00"),
        ("PKR 1,234,567.89", "1234567.89"),
        ("Rs 1500", "1500.00"),
        ("Rs. 1,500.50", "1500.50"),
        ("1500 Rs", "1500.00"),
    ],
)
def test_an_amount_is_read_with_its_currency(facade: Facade, amount: str, canonical: str):
    assert facade.start("payment", Amount=amount, Payee="Daraz").json["amount"] == f"{canonical} PKR"


@pytest.mark.parametrize(
    "amount",
    [
        "1500",
        "$39.99",
        "US$39.99",
        "¥1500",
        "Ruppes 1500",
        "rs 1500",
        "PKR",
        "PKR 1,50",
        "PKR 1.500,00",
        "PKR 1 PKR",
        "PKR 15,00.00",
        "PKR -1",
        "pkr 1",
        "PKR ١",
    ],
)
def test_an_amount_that_could_mean_another_is_refused(facade: Facade, amount: str):
    assert error_of(facade.start("payment", Amount=amount, Payee="Daraz")) == INVALID


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("€39.99", "39.99 EUR"), ("39.99 €", "39.99 EUR"), ("£ 1,000", "1000.00 GBP"), ("₹5", "5.00 INR")],
)
def test_an_amount_is_read_as_the_examples_of_twilios_documents_write_it(facade: Facade, amount: str, shown: str):
    started = facade.start("payment", Amount=amount, Payee="Acme Inc").json

    assert started["amount"] == shown
    assert facade.check(facade.code(started["sid"]), "payment", Amount=amount, Payee="Acme Inc").json["valid"]


@pytest.mark.parametrize(
    ("region", "amount", "currency"),
    [("US", "$39.99", "USD"), ("AU", "$39.99", "AUD"), ("JP", "¥1500", "JPY"), ("IN", "₹39.99", "INR")],
)
def test_a_sign_of_many_countries_means_the_applications_own(
    real_world: World, region: str, amount: str, currency: str
):
    shop = {
        **tree(real_world.url)["applications"]["shop"],
        "client_ip": "none",
        "dialects": ["twilio"],
        "region": region,
    }
    facade = Facade(twilio_api(real_world, applications={"shop": {**shop, "purposes": ["payment"]}}))

    assert facade.start("payment", Amount=amount, Payee="Acme Inc").json["amount"].endswith(f" {currency}")


@pytest.mark.parametrize(
    "form", [{}, {"Amount": "PKR 1500"}, {"Payee": "Daraz"}, {"Amount": "ZZZ 1", "Payee": "Daraz"}]
)
def test_a_payment_needs_an_amount_and_a_payee(facade: Facade, form: dict[str, str]):
    assert error_of(facade.start("payment", **form)) == (400, 60206)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"To": ""}, INVALID),
        ({"To": "12"}, INVALID),
        ({"To": "+924235761999"}, (403, 60205)),
        ({"To": "+971501234567"}, (403, 60605)),
        ({"Channel": ""}, INVALID),
        ({"Channel": "email"}, INVALID),
        ({"Channel": "whatsapp"}, (400, 60223)),
        ({"Locale": "x" * 300}, INVALID),
        ({"Locale": "3001234567"}, INVALID),
        ({"DeviceIp": "somewhere"}, INVALID),
        ({"CustomCode": "123456"}, NOT_ENABLED),
        ({"CustomFriendlyName": "Acme Bank"}, NOT_ENABLED),
        ({"RiskCheck": "disable"}, NOT_ENABLED),
        ({"Channel": "call", "SendDigits": "1234"}, NOT_ENABLED),
        ({"AppHash": "FA+9qCX9VSu"}, INVALID),
    ],
)
def test_what_cannot_be_started_is_refused_with_twilios_code(
    facade: Facade, form: dict[str, str], code: tuple[int, int]
):
    answer = facade.start(**form)

    assert error_of(answer) == code
    if code == INVALID:
        assert answer.json["message"] == f"Invalid parameter: {next(iter(form))}"


def test_what_the_service_does_anyway_may_be_said(real_world: World):
    shop = {
        **tree(real_world.url)["applications"]["shop"],
        "client_ip": "none",
        "dialects": ["twilio"],
        "app_hash": "FA+9qCX9VSu",
    }
    facade = Facade(twilio_api(real_world, applications={"shop": shop}))
    said = {"AppHash": "FA+9qCX9VSu", "CustomFriendlyName": "Acme Shop", "RiskCheck": "enable", "SendDigits": "1234"}

    assert facade.start(**said, RateLimits='{"end_user": "1"}').status_code == 201


@pytest.mark.parametrize("channel", ["SMS", "Sms", "CALL", "Auto"])
def test_a_channel_is_read_in_any_case(facade: Facade, channel: str):
    assert facade.start(Channel=channel).status_code == 201


def test_a_body_that_is_no_form_is_none(facade: Facade):
    path = f"/Services/{facade.services['login']}/Verifications"
    json = facade.api.client.post(f"/twilio/v2{path}", json={"To": NUMBER, "Channel": "sms"}, headers=facade.headers)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    latin = facade.call("POST", path, b"To=%2B92\xe93001234567&Channel=sms", **form)
    long = facade.call("POST", path, b"To=" + b"1" * 9000, **form)
    none = facade.call("POST", path)

    assert error_of(json) == error_of(latin) == error_of(none) == INVALID
    assert json.json["message"] == "Invalid parameter: To, Channel"
    assert error_of(long) == (413, 20413)


def test_a_parameter_that_is_given_twice_is_refused_for_a_person_may_have_typed_one(facade: Facade):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    service = f"/Services/{facade.services['login']}"
    to = f"To={quote(NUMBER)}"

    start = facade.call("POST", f"{service}/Verifications", f"To=%2B923001234568&Channel=sms&{to}", **form)
    assert error_of(start) == INVALID
    assert start.json["message"] == "Invalid parameter: To"
    sent = facade.call("POST", f"{service}/Verifications", f"{to}&Channel=sms&Tags=x&Tags=y", **form)
    assert sent.status_code == 201  # of those that mean nothing any number may come
    check = f"Code={facade.code(sent.json['sid'])}&To=%2B923001234568&{to}"
    assert error_of(facade.call("POST", f"{service}/VerificationCheck", check, **form)) == INVALID
    assert facade.fetch(NUMBER).json["status"] == "pending"


def test_parameters_that_mean_nothing_here_are_counted_and_strangers_names_are_not_told(facade: Facade):
    before = _unused("Tags"), _unused("other")
    facade.start(Tags="x", **{"canary-name": "x"})

    assert (_unused("Tags"), _unused("other")) == (before[0] + 1, before[1] + 1)
    assert "canary" not in facade.api.client.get("/metrics").text


def test_the_address_of_the_device_counts_and_has_to_be_an_end_users(real_world: World):
    shop = {**tree(real_world.url)["applications"]["shop"], "client_ip": "required", "dialects": ["twilio"]}
    facade = Facade(twilio_api(real_world, applications={"shop": shop}, limits={"ip": ["1/minute"]}))

    assert error_of(facade.start()) == INVALID
    assert facade.start(DeviceIp="203.0.113.7").status_code == 201
    assert error_of(facade.start(To="+923001234568", DeviceIp="203.0.113.7")) == (429, 20429)
    assert facade.start(To="+923001234568", DeviceIp="203.0.113.8").status_code == 201


# --- fetch and cancel ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", ["+923001234567", "%2B923001234567", "+92%20300%20123%204567", "03001234567"])
def test_a_verification_is_found_by_its_number_in_any_spelling(facade: Facade, spelled: str):
    sid = facade.start().json["sid"]

    assert facade.fetch(spelled).json["sid"] == sid


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_a_number_is_told_in_one_form_to_who_wrote_it_and_not_to_others(facade: Facade, spelled: str):
    started = facade.start(To=spelled).json
    sid = started["sid"]

    assert started["to"] == NUMBER
    assert facade.check(facade.wrong(sid), To=spelled).json["to"] == NUMBER
    assert facade.start(To=spelled).json["to"] == NUMBER, "the pending one, sent again"
    assert facade.fetch(quote(spelled)).json["to"] == NUMBER
    assert facade.fetch(sid).json["to"] == "+92 ••• ••••567"
    assert facade.check(facade.wrong(sid), VerificationSid=sid).json["to"] == "+92 ••• ••••567"


def test_a_verification_is_found_by_its_own_application_and_service_alone(facade: Facade):
    sid, bank = facade.start().json["sid"], bank_of(facade)

    assert error_of(bank.fetch(sid)) == GONE
    assert error_of(bank.fetch(NUMBER)) == GONE
    assert error_of(bank.check(facade.code(sid))) == GONE
    assert error_of(facade.fetch(sid, "payment")) == GONE
    assert error_of(facade.fetch(NUMBER, "payment")) == GONE
    assert error_of(facade.check(facade.code(sid), "payment", **PAYMENT, VerificationSid=sid)) == GONE


def test_a_check_by_identifier_and_number_is_of_a_verification_of_both(facade: Facade):
    sid, number = facade.start().json["sid"], "+923001234568"
    code = facade.code(facade.start(To=number).json["sid"])
    other = facade.fetch(number).json["sid"]

    assert error_of(facade.check(code, To=NUMBER, VerificationSid=other)) == GONE
    assert error_of(facade.check(code, To="12", VerificationSid=other)) == INVALID
    assert error_of(facade.check(code, To=other)) == INVALID
    assert error_of(facade.check(code, VerificationSid=number)) == GONE
    right = facade.check(code, To="0300 1234568", VerificationSid=other).json
    assert (right["valid"], right["to"]) == (True, number)
    assert facade.api.get(f"{START}/{facade.id_of(sid)}").json["checks_left"] == 5


@pytest.mark.parametrize("sid", ["VE", "VE12", "VE" + 32 * "0", "VE" + 32 * "z", "VE" + 32 * "٣"])
def test_an_identifier_that_is_none_finds_nothing(facade: Facade, sid: str):
    assert error_of(facade.fetch(sid)) == GONE
    assert error_of(facade.check("123456", VerificationSid=sid)) == GONE


def test_a_canceled_verification_can_be_read_and_an_approved_or_expired_one_not(facade: Facade):
    sid = facade.start().json["sid"]
    path = f"/Services/{facade.services['login']}/Verifications/"
    canceled = facade.call("POST", path + NUMBER, {"Status": "canceled"})

    assert (canceled.status_code, canceled.json["sid"], canceled.json["status"]) == (200, sid, "canceled")
    assert facade.fetch(sid).json["status"] == "canceled"
    assert error_of(facade.check(facade.wrong(sid), VerificationSid=sid)) == GONE
    second = facade.start().json["sid"]
    facade.check(facade.code(second))
    assert error_of(facade.fetch(second)) == error_of(facade.fetch(NUMBER)) == GONE
    assert error_of(facade.call("POST", path + second, {"Status": "canceled"})) == GONE
    third = facade.start().json["sid"]
    facade.api.world.advance(301)
    assert error_of(facade.fetch(third)) == GONE
    assert error_of(facade.check("123456")) == GONE


def test_nothing_but_a_code_approves(facade: Facade):
    sid = facade.start().json["sid"]
    path = f"/Services/{facade.services['login']}/Verifications/{sid}"

    assert error_of(facade.call("POST", path, {"Status": "approved"})) == NOT_ENABLED
    assert error_of(facade.call("POST", path, {"Status": "x"})) == error_of(facade.call("POST", path)) == INVALID
    assert facade.fetch(sid).json["status"] == "pending"


def test_a_verification_is_found_whatever_the_buckets_and_after_a_rotation_of_root_keys(real_world: World):
    old, new, pseudonym = key(), key(), key()
    keys = {"root": f"k1:{old}", "pseudonym": pseudonym, "buckets": 256}
    sid = Facade(twilio_api(real_world, keys=keys)).start().json["sid"]
    rotated = Facade(twilio_api(real_world, keys={**keys, "root": f"k2:{new},k1:{old}"}))

    assert rotated.fetch(sid).json["sid"] == rotated.fetch(NUMBER).json["sid"] == sid
    assert rotated.start().json["sid"] == sid


# --- checks -------------------------------------------------------------------------------------------------


def test_a_right_code_approves_once(facade: Facade):
    sid = facade.start().json["sid"]
    code = facade.code(sid)

    answer = facade.check(code)
    assert (answer.status_code, answer.json["status"], answer.json["valid"], answer.json["sid"]) == (
        201,
        "approved",
        True,
        sid,
    )
    assert error_of(facade.check(code)) == GONE


def test_wrong_codes_are_answers_until_there_were_too_many(facade: Facade):
    sid = facade.start().json["sid"]
    wrong = [facade.check(facade.wrong(sid)).json for _ in range(5)]

    assert {(one["status"], one["valid"]) for one in wrong[:4]} == {("pending", False)}
    assert wrong[4]["status"] == "max_attempts_reached"
    assert error_of(facade.check(facade.code(sid))) == (429, 60202)
    assert facade.fetch(sid).json["status"] == "max_attempts_reached"


def test_what_cannot_be_a_code_is_no_guess(facade: Facade):
    sid = facade.start().json["sid"]

    assert error_of(facade.check("12")) == error_of(facade.check("12345x")) == error_of(facade.check("")) == INVALID
    assert error_of(facade.post("/VerificationCheck", Code="123456")) == (400, 60221)
    assert facade.api.get(f"{START}/{facade.id_of(sid)}").json["checks_left"] == 5


def test_a_changed_payment_ends_the_verification(facade: Facade):
    sid = facade.start("payment", **PAYMENT).json["sid"]
    code = facade.code(sid)

    assert error_of(facade.check(code, "payment")) == (400, 60206)
    changed = facade.check(code, "payment", Amount="PKR 15,000", Payee="Daraz").json
    assert (changed["status"], changed["valid"]) == ("failed", False)
    assert error_of(facade.check(code, "payment", **PAYMENT)) == GONE


def test_supabase_auths_two_calls_as_it_sends_them(api: Api):
    """``internal/api/sms_provider/twilio_verify.go``: wants 200 or 201, ``approved`` and ``valid``."""
    services = Facade(api).services
    account = {"Authorization": basic(user="AC" + 32 * "0")["Authorization"]}
    form = {**account, "Content-Type": "application/x-www-form-urlencoded"}
    path = f"/twilio/v2/Services/{services['login']}"

    sent = api.client.post(f"{path}/Verifications", data=f"Channel=sms&To={quote(NUMBER)}", headers=form)
    assert sent.status_code in {200, 201}
    code = Facade(api).code(sent.json["sid"])
    checked = api.client.post(f"{path}/VerificationCheck", data=f"Code={code}&To={quote(NUMBER)}", headers=form)
    assert checked.status_code in {200, 201}
    assert checked.json["status"] == "approved"
    assert checked.json["valid"]


# --- paths and errors ---------------------------------------------------------------------------------------


def test_what_is_not_there_is_refused_as_twilio_refuses(facade: Facade):
    login = facade.services["login"]

    assert error_of(facade.get("/Nothing")) == error_of(facade.get(f"/Services/{login}/RateLimits")) == GONE
    for method, path in (("POST", "/Services"), ("DELETE", f"/Services/{login}"), ("PUT", "/Services")):
        assert error_of(facade.call(method, path)) == (405, 20004)
    assert facade.call("HEAD", "/Services").status_code == 200


def test_a_store_that_is_away_is_told_as_an_error_of_twilios(facade: Facade, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(facade.api.installation.context.store.verifications, "start", _fail)

    answer = facade.start()
    assert error_of(answer) == (500, 20500)
    assert "canary" not in answer.text


def test_neither_number_nor_code_is_logged(facade: Facade, log: StringIO):
    sid = facade.start().json["sid"]
    code = facade.code(sid)
    facade.fetch(NUMBER)
    facade.fetch("+92%20300%20123%204567x")
    facade.get(f"/Services/{facade.services['login']}/Verifications/{NUMBER}/more")
    facade.check(facade.wrong(sid))
    facade.check(code)
    facade.start(To=NUMBER + "x", DeviceIp=NUMBER, Locale=NUMBER)

    written = log.getvalue()
    assert "verification=" in written or '"verification"' in written
    assert [one for one in (NUMBER[3:], "123 4567", code, API_KEY) if one in written] == []


def _fail(*_: object, **__: object) -> None:
    raise ValueError("canary")


def _unused(parameter: str) -> float:
    return (
        metrics.REGISTRY.get_sample_value("otp_service_twilio_unused_parameters_total", {"parameter": parameter}) or 0
    )
