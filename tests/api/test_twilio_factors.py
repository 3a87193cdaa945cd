"""Entities, factors and challenges as to Twilio Verify: authenticator apps, by raw HTTP."""

import re
from typing import Any

import pyotp
import pytest
from sqlalchemy import select
from support_factors import FACTORS
from support_installation import World
from support_twilio import Facade, bank_of, error_of, twilio_api
from werkzeug.test import TestResponse

from otp_service.ledger import schema

USER = "customer-8842-b"
GONE, INVALID, NOT_ENABLED = (404, 20404), (400, 60200), (403, 60204)


class Phone:
    """An authenticator app that was enrolled as to Twilio."""

    def __init__(self, facade: Facade, user: str = USER, **form: str) -> None:
        self.facade, self.path = facade, f"/Entities/{user}/Factors"
        answer = facade.post(self.path, FactorType="totp", **{"FriendlyName": "Ali's phone", **form})
        assert answer.status_code == 201, answer.text
        self.enrolled: dict[str, Any] = answer.json
        self.sid = str(self.enrolled["sid"])
        self.totp = pyotp.parse_uri(self.enrolled["binding"]["uri"])

    def code(self, steps: int = 0) -> str:
        seconds = int(self.facade.api.world.client.time()[0])
        return str(self.totp.generate_otp(seconds // self.totp.interval + steps))

    def wrong(self) -> str:
        right = {self.code(steps) for steps in range(-6, 7)}
        return next(code for code in (f"{one:06d}" for one in range(20)) if code not in right)

    def update(self, **form: str) -> TestResponse:
        return self.facade.post(f"{self.path}/{self.sid}", **form)

    def challenge(self, code: str, purpose: str = "login") -> TestResponse:
        path = self.path.replace("/Factors", "/Challenges")
        return self.facade.post(path, purpose, FactorSid=self.sid, AuthPayload=code)

    def call(self, method: str, path: str = "") -> TestResponse:
        path = path or f"{self.path}/{self.sid}"
        return self.facade.call(method, f"/Services/{self.facade.services['login']}{path}")


@pytest.fixture
def facade(still_world: World) -> Facade:
    return Facade(twilio_api(still_world))


@pytest.fixture
def phone(facade: Facade) -> Phone:
    """One that is active; the code before the present one is spent."""
    phone = Phone(facade)
    assert phone.update(AuthPayload=phone.code(-1)).json["status"] == "verified"
    return phone


def test_an_entity_is_a_user_and_nothing_is_kept_for_it(facade: Facade):
    before = facade.api.keys()
    made = facade.post("/Entities", Identity=USER)
    again = facade.call("GET", f"/Services/{facade.services['login']}/Entities/{USER}")

    assert made.status_code == 201
    assert again.json == made.json
    assert re.fullmatch("YE[0-9a-f]{32}", made.json["sid"])
    assert made.json["identity"] == USER
    assert facade.api.keys() == before
    assert facade.api.post("/v1/user-factors", {"user": USER}).json["user_id"] == f"us_{made.json['sid'][2:]}"


@pytest.mark.parametrize("identity", ["", "x" * 129, "a\nb", "a/b", b"Jos\xe9"])
def test_an_identity_that_cannot_be_kept_is_refused(facade: Facade, identity: str):
    answer = facade.post("/Entities", Identity=identity)

    assert error_of(answer) == INVALID
    assert answer.json["message"] == "Invalid parameter: Identity"


def test_users_whose_names_are_not_in_utf8_are_not_one(facade: Facade):
    paths = [f"/Services/{facade.services['login']}/Entities/Jos%{last}" for last in ("E8", "E9", "C3%A9")]

    found = [facade.get(path) for path in paths]
    assert [error_of(one) for one in found[:2]] == [INVALID] * 2
    assert found[2].json["identity"] == "José"
    assert error_of(facade.get(f"{paths[0]}/Factors")) == INVALID


def test_a_factor_shows_its_secret_once_and_is_verified_by_its_first_code(facade: Facade):
    phone = Phone(facade)

    assert phone.enrolled["status"] == "unverified"
    assert phone.enrolled["config"] == {"alg": "sha1", "skew": 1, "code_length": 6, "time_step": 30}
    assert phone.totp.secret == phone.enrolled["binding"]["secret"]
    assert phone.totp.name == "Ali's phone"
    wrong = phone.update(AuthPayload=phone.wrong(), FriendlyName="work").json
    assert (wrong["status"], wrong["friendly_name"]) == ("unverified", "Ali's phone")
    assert error_of(phone.challenge(phone.code())) == (403, 60318)
    assert phone.update(AuthPayload=phone.code()).json["status"] == "verified"
    read = phone.call("GET")
    assert (read.json["status"], read.json["friendly_name"]) == ("verified", "Ali's phone")
    assert phone.enrolled["binding"]["secret"] not in read.text
    assert "binding" not in read.json


def test_a_challenge_is_approved_by_a_right_code_once(phone: Phone):
    code = phone.code()
    right, again, wrong = (phone.challenge(one) for one in (code, code, phone.wrong()))

    assert [one.status_code for one in (right, again, wrong)] == [201] * 3
    assert [one.json["status"] for one in (right, again, wrong)] == ["approved", "pending", "pending"]
    assert right.json["factor_sid"] == phone.sid
    for refused in (phone.challenge("12"), Phone(phone.facade).update(AuthPayload="x")):
        assert error_of(refused) == INVALID
        assert refused.json["message"] == "Invalid parameter: AuthPayload"
    assert error_of(phone.update(AuthPayload=phone.code(1))) == (403, 60318)
    assert error_of(phone.call("GET", f"/Entities/{USER}/Challenges/{right.json['sid']}")) == GONE
    assert error_of(phone.call("POST", f"/Entities/{USER}/Challenges/{right.json['sid']}")) == GONE


def test_too_many_wrong_codes_are_refused_as_twilio_refuses(facade: Facade, phone: Phone):
    other = Phone(facade, user="another")
    for one, wrong in ((phone, phone.challenge), (other, lambda code: other.update(AuthPayload=code))):
        for _ in range(20):
            if wrong(one.wrong()).status_code == 429:
                break

    assert error_of(phone.challenge(phone.code())) == (429, 60308)
    assert error_of(other.update(AuthPayload=other.code())) == (429, 60310)


def test_guesses_by_both_ways_spend_one_budget(phone: Phone):
    factor = phone.facade.api.post("/v1/user-factors", {"user": USER}).json["factors"][0]["id"]

    def guess(turn: int) -> bool:
        if turn % 2:
            return error_or_none(phone.challenge(phone.wrong())) is None
        body = {"code": phone.wrong()}
        return phone.facade.api.post(f"{FACTORS}/{factor}/check", body).json["reason"] == "wrong_code"

    both = [guess(turn) for turn in range(40)].count(True)
    alone = Phone(phone.facade, user="another")
    alone.update(AuthPayload=alone.code(-1))
    assert both == [error_or_none(alone.challenge(alone.wrong())) for _ in range(40)].count(None)
    assert 0 < both < 40


def error_or_none(answer: TestResponse) -> tuple[int, int] | None:
    return error_of(answer) if answer.status_code >= 400 else None


def test_a_service_whose_purpose_takes_no_apps_refuses_challenges(phone: Phone):
    assert error_of(phone.challenge(phone.code(), "payment")) == NOT_ENABLED


def test_a_secret_from_elsewhere_is_taken_over(facade: Facade):
    secret = pyotp.random_base32()
    config = {"Config.Alg": "sha256", "Config.CodeLength": "8", "Config.TimeStep": "60", "Config.Skew": "1"}
    phone = Phone(facade, **{"Binding.Secret": secret, **config})

    assert phone.enrolled["binding"]["secret"] == secret
    assert phone.enrolled["config"] == {"alg": "sha256", "skew": 1, "code_length": 8, "time_step": 60}
    assert phone.update(AuthPayload=phone.code()).json["status"] == "verified"


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"FactorType": "push"}, NOT_ENABLED),
        ({"FactorType": ""}, INVALID),
        ({"FriendlyName": ""}, INVALID),
        ({"FriendlyName": "a:b"}, INVALID),
        ({"Config.Alg": "sha512"}, NOT_ENABLED),
        ({"Config.CodeLength": "8"}, NOT_ENABLED),
        ({"Config.TimeStep": "60"}, NOT_ENABLED),
        ({"Config.Skew": "2"}, NOT_ENABLED),
        ({"Config.TimeStep": "x"}, INVALID),
        ({"Config.Alg": "md5"}, INVALID),
        ({"Binding.Secret": "JBSWY3DPEHPK3PXP"}, INVALID),
        ({"Binding.Secret": "canary&digits=8"}, INVALID),
        ({"Binding.Secret": pyotp.random_base32(), "Config.CodeLength": "3"}, INVALID),
    ],
)
def test_a_factor_that_apps_could_not_show_is_refused(facade: Facade, form: dict[str, str], code: tuple[int, int]):
    given = {"FriendlyName": "phone", "FactorType": "totp", **form}
    answer = facade.post(f"/Entities/{USER}/Factors", **given)

    assert error_of(answer) == code
    assert "canary" not in answer.text


def test_factors_are_listed_renamed_and_removed(facade: Facade, phone: Phone):
    second = Phone(facade, FriendlyName="tablet")
    second.update(AuthPayload=second.code(-1))
    listed = facade.get(f"/Services/{facade.services['login']}/Entities/{USER}/Factors?PageSize=1").json

    assert [one["sid"] for one in listed["factors"]] == [phone.sid]
    assert listed["meta"]["key"] == "factors"
    assert facade.get(listed["meta"]["next_page_url"].partition("/v2")[2]).json["factors"][0]["sid"] == second.sid
    assert second.update(FriendlyName="work").json["friendly_name"] == "work"
    assert (second.call("DELETE").status_code, second.call("DELETE").data) == (204, b"")
    assert error_of(second.call("GET")) == error_of(second.update()) == GONE
    assert error_of(second.challenge(second.code())) == (403, 60318)
    assert phone.call("DELETE", f"/Entities/{USER}").status_code == 204
    assert error_of(phone.call("GET")) == GONE
    assert facade.get(f"/Services/{facade.services['login']}/Entities/{USER}/Factors").json["factors"] == []
    with facade.api.installation.context.ledger.database.read() as connection:
        changes = connection.execute(select(schema.factor_changes)).mappings()
        assert [one["reason"] for one in changes if one["change"] == "removed"] == ["other", "closed"]


def test_an_entity_that_is_deleted_has_no_factor_that_waits_either(facade: Facade):
    phone = Phone(facade)
    assert phone.call("DELETE", f"/Entities/{USER}").status_code == 204

    assert error_of(phone.update(AuthPayload=phone.code())) == GONE


def test_a_user_has_five_factors_at_most(facade: Facade):
    for number in range(5):
        phone = Phone(facade, FriendlyName=f"phone {number}")
        phone.update(AuthPayload=phone.code(-1))

    assert error_of(facade.post(f"/Entities/{USER}/Factors", FriendlyName="x", FactorType="totp")) == (400, 60315)


def test_nobody_else_sees_or_uses_a_factor(facade: Facade, phone: Phone):
    bank, elsewhere = bank_of(facade), f"/Entities/another/Factors/{phone.sid}"

    assert error_of(phone.call("GET", elsewhere)) == GONE
    assert error_of(phone.call("DELETE", elsewhere)) == GONE
    assert error_of(phone.call("GET", f"{phone.path}/{phone.sid[:-1]}{int(phone.sid[-1], 16) ^ 1:x}")) == GONE
    assert (
        error_of(phone.call("GET", f"{phone.path}/YF{32 * '0'}"))
        == error_of(phone.call("GET", phone.path + "/x"))
        == GONE
    )
    assert error_of(bank.get(f"/Services/{bank.services['login']}{phone.path}/{phone.sid}")) == GONE
    assert error_of(bank.post(f"/Entities/{USER}/Challenges", FactorSid=phone.sid, AuthPayload=phone.code())) == GONE
    assert phone.challenge(phone.code()).json["status"] == "approved"


def test_the_same_factor_is_found_by_the_api(facade: Facade, phone: Phone):
    found = facade.api.post("/v1/user-factors", {"user": USER}).json["factors"]

    assert [one["label"] for one in found] == ["Ali's phone"]
    assert phone.sid == f"YF{found[0]['id'][-24:]}{found[0]['id'][3:11]}"
