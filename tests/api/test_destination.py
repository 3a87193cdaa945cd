"""The number in E.164, in the answer to a start: there alone, and one number whatever it was spelled like."""

from io import StringIO
from typing import Any

import pytest
from support_api import START, Api, code_of
from support_canary import logged_at_debug
from support_installation import NUMBER, SPELLINGS, World, key, tree
from werkzeug.test import TestResponse


@pytest.fixture
def api(real_world: World, hot_path: bool) -> Api:
    return Api(real_world, hot_path=hot_path, limits={"number": ["100/day"]})


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_answered_with_one_number(api: Api, spelling: str):
    assert api.post(START, {"to": spelling}).json["destination"] == NUMBER


def test_a_region_decides_what_a_national_spelling_is(api: Api):
    assert api.post(START, {"to": "07400 123456", "region": "GB"}).json["destination"] == "+447400123456"


def test_no_other_answer_has_it(api: Api):
    started = api.post(START, {"to": NUMBER, "client_token": {"allow": ["read", "check", "resend"]}}).json
    one, page = f"{START}/{started['id']}", {"Authorization": f"Bearer {started['client_token']}"}
    answers = [api.get(one), api.client.get(one, headers=page)]
    api.world.advance(31)
    answers += [
        api.post(f"{one}/resend"),
        api.post(f"{one}/check", {"code": api.wrong(started["id"])}),
        api.post(f"{one}/check", {"code": api.code(started["id"]), "to": NUMBER}),
        api.client.post(f"{one}/check", json={"code": "000000"}, headers=page),
        api.post(f"{START}/{api.start()}/cancel"),
        api.get("/v1/sandbox/messages"),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 202, 200, 200, 200, 200, 200]
    assert not [answer.text for answer in answers if "destination" in answer.text or NUMBER[3:] in answer.text]


def test_a_repeated_start_is_answered_with_it_again(api: Api):
    first = _start(api, "0300 1234567")
    again = _start(api, "0300 1234567")
    api.post(f"{START}/{first.json['id']}/check", {"code": api.code(first.json["id"])})
    approved = _start(api, "0300 1234567")
    api.world.advance(1200)
    gone = _start(api, "0300 1234567")

    assert again.json == first.json
    answers = [first, again, approved, gone]
    assert [answer.json["destination"] for answer in answers] == [NUMBER] * 4
    assert [answer.json["status"] for answer in answers] == ["pending", "pending", "approved", "approved"]


def test_a_repeated_start_that_means_another_number_by_now_is_refused(real_world: World):
    """Else whoever proves the number of the id would log in as the number in `destination`."""
    keys = {"root": f"k1:{key()}", "pseudonym": key()}
    shop = {**tree(real_world.url)["applications"]["shop"], "countries": ["PH", "IR"]}
    before, after = (
        Api(real_world, keys=keys, applications={"shop": {**shop, "region": region}}) for region in ("PH", "IR")
    )
    first = _start(before, "0917 123 4567")

    assert first.json["destination"] == "+639171234567"
    assert code_of(_start(after, "0917 123 4567")) == (422, "idempotency-mismatch")
    assert _start(before, "0917 123 4567").json == first.json


def test_neither_log_nor_redis_has_it(real_world: World):
    with logged_at_debug() as log:
        api = Api(real_world)
        assert _start(api, "0300 1234567").json["destination"] == NUMBER
        api.deliver()
        written = _written(api, log)

    assert len(written) > 1000
    assert NUMBER[3:].encode() not in written


def _written(api: Api, log: StringIO) -> bytes:
    kept = b"".join(api.world.client.dump(name) for name in api.keys())
    return log.getvalue().encode() + kept + b"".join(api.keys())


def _start(api: Api, to: str, **members: Any) -> TestResponse:
    return api.post(START, {"to": to, **members}, Idempotency_Key="one")
