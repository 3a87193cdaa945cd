"""The number that a check may name: another number than the code went to is refused, and costs nothing."""

from typing import Any

import pytest
from support_api import START, Api, code_of, round_trips
from support_installation import BANK_KEY, NUMBER, SPELLINGS, TRANSACTION, World
from werkzeug.test import TestResponse

from otp_service.domain.verification import CheckFailure

OTHER = "+923007654321"


@pytest.fixture
def api(real_world: World, hot_path: bool) -> Api:
    return Api(real_world, hot_path=hot_path)


def check(api: Api, one: str, code: str, **members: Any) -> TestResponse:
    headers = {"Idempotency_Key": members.pop("key")} if "key" in members else {}
    return api.post(f"{START}/{one}/check", {"code": code, **members}, **headers)


def state(api: Api) -> dict[bytes, bytes]:
    """Return all that Redis holds."""
    return {name: api.world.client.dump(name) for name in api.keys()}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_same_number_passes_in_any_spelling(api: Api, spelling: str):
    one = api.start()

    assert check(api, one, api.code(one), to=spelling).json["valid"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_verification_started_in_any_spelling_is_of_that_number(api: Api, spelling: str):
    one = api.start(spelling)

    assert code_of(check(api, one, api.code(one), to=OTHER)) == (422, "number-mismatch")
    assert check(api, one, api.code(one), to=NUMBER).json["valid"]


def test_another_number_changes_nothing_and_costs_no_guess(api: Api):
    one = api.start()
    code, before = api.code(one), state(api)
    for typed in (code, api.wrong(one), code + "99"):
        for _ in range(20):
            assert code_of(check(api, one, typed, to=OTHER)) == (422, "number-mismatch")
    told = check(api, one, code, to=OTHER)

    assert state(api) == before
    assert not any(text in told.text for text in (OTHER[3:], NUMBER[3:]))
    assert check(api, one, code, to=NUMBER).json == {
        "id": one, "status": "approved", "valid": True, "checks_left": 4, "reason": None, "proof": None,
    }  # fmt: skip


def test_a_region_is_for_a_national_spelling(api: Api):
    one = api.start("07400 123456", region="GB")
    code = api.code(one)

    assert code_of(check(api, one, code, to="07400 123456"))[0] == 422, "of the application's region"
    assert check(api, one, code, to="07400 123456", region="GB").json["valid"]


def test_another_number_is_refused_whatever_the_state(api: Api):
    approved, canceled, expired = (api.start(f"+92300123456{last}") for last in range(3))
    codes = [api.code(one) for one in (approved, canceled, expired)]
    check(api, approved, codes[0])
    api.post(f"{START}/{canceled}/cancel")
    api.world.advance(301)
    for one, code in zip((approved, canceled, expired), codes, strict=True):
        assert code_of(check(api, one, code, to=OTHER)) == (422, "number-mismatch")

    reasons = [check(api, expired, codes[2], to="+923001234562").json["reason"], check(api, approved, codes[0]).json]
    assert reasons[0] == CheckFailure.EXPIRED
    assert reasons[1]["reason"] == CheckFailure.ALREADY_APPROVED


def test_another_applications_verification_is_not_there_whatever_the_number(api: Api):
    one = api.start()
    bank = Api(api.world, BANK_KEY)

    for to in (NUMBER, OTHER):
        assert code_of(check(bank, one, api.code(one), to=to)) == (404, "not-found")


@pytest.mark.parametrize("to", ["", "12", "+92300", "my number", "+923001234567 ext 5", "0" * 200])
def test_what_is_no_number_is_refused_and_costs_nothing(api: Api, to: str):
    one = api.start()
    code, before = api.code(one), state(api)

    assert code_of(check(api, one, code, to=to)) == (422, "invalid-number")
    assert state(api) == before


def test_a_number_that_is_a_null_is_none(api: Api):
    one = api.start()

    assert check(api, one, api.code(one), to=None, region=None).json["valid"]


def test_an_idempotency_key_stands_for_the_number_too(api: Api):
    one = api.start()
    code = api.code(one)
    assert code_of(check(api, one, code, to=OTHER, key="a")) == (422, "number-mismatch")
    first = check(api, one, code, to=NUMBER, key="a")

    assert first.json["valid"]
    assert check(api, one, code, to=NUMBER, key="a").json == first.json
    assert code_of(check(api, one, code, to=OTHER, key="a")) == (422, "number-mismatch")
    assert code_of(check(api, one, code, key="a")) == (422, "idempotency-mismatch")


def test_a_payment_is_of_a_number_too(api: Api):
    one = api.start(purpose="payment", transaction=TRANSACTION)
    code = api.code(one)

    assert code_of(check(api, one, code, to=OTHER, transaction={**TRANSACTION, "amount": "1"})) == (
        422,
        "number-mismatch",
    )
    assert check(api, one, code, to=NUMBER, transaction=TRANSACTION).json["valid"]


def test_a_page_cannot_find_out_the_number(api: Api):
    started = api.post(START, {"to": NUMBER, "client_token": {"allow": ["check"]}}).json
    headers = {"Authorization": f"Bearer {started['client_token']}"}
    path = f"{START}/{started['id']}/check"
    for to in (NUMBER, OTHER, "no number"):
        body = {"code": "000000", "to": to}
        assert code_of(api.client.post(path, json=body, headers=headers)) == (403, "forbidden")

    assert api.get(f"{START}/{started['id']}").json["checks_left"] == 5
    assert api.client.post(path, json={"code": api.code(started["id"])}, headers=headers).json["valid"]


def test_a_check_with_a_number_is_one_round_trip(api: Api):
    one = api.start()
    code = api.code(one)

    assert round_trips(api, lambda: check(api, one, code, to=NUMBER).json["valid"]) == 1
