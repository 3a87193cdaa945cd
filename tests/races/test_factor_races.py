"""Races for codes of authenticator apps, against two application processes on a real Valkey."""

from collections import Counter
from itertools import count
from typing import Any

import pyotp
import pytest
import requests
from support_service import Service, in_parallel

_users = count()


def patiently(service: Service, path: str, body: dict[str, str], **headers: str) -> requests.Response:
    """Send a request again while too many wait for the ledger: then nothing was done."""
    while (answer := service.post(path, body, **headers)).status_code == 503:
        pass
    return answer


class App:
    """An authenticator app that was enrolled with the running service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.user = f"user-{next(_users)}"
        enrolled = service.post("/v1/factors", {"user": self.user, "label": "phone"}).json()
        self.id = enrolled["factor"]["id"]
        self._totp = pyotp.parse_uri(enrolled["uri"])

    def code(self, steps: int = 0) -> str:
        """Return a code, once enough of its time is left for a race."""
        while self.service.valkey.client.time()[0] % 30 > 20:
            pass
        return self._totp.generate_otp(self.service.valkey.client.time()[0] // 30 + steps)

    def post(self, call: str, **body: str) -> requests.Response:
        """Send a request; members whose names begin with a capital are headers."""
        headers = {name: body.pop(name) for name in [*body] if name[0].isupper()}
        return patiently(self.service, f"/v1/factors/{self.id}/{call}", body, **headers)

    def check(self, code: str) -> dict[str, Any]:
        answer = self.post("check", code=code)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture
def app(service: Service) -> App:
    return App(service)


def test_of_two_hundred_submissions_of_one_code_exactly_one_is_accepted(app: App):
    assert app.post("activate", code=app.code(-1)).json()["valid"]
    code = app.code()

    results = in_parallel(200, lambda _: app.check(code))

    assert Counter(result["reason"] for result in results) == {None: 1, "code_used": 199}
    assert sum(result["valid"] for result in results) == 1


def test_of_codes_at_once_none_is_accepted_after_a_later_one(app: App):
    assert app.post("activate", code=app.code(-1)).json()["valid"]
    codes = [app.code(place % 2) for place in range(100)]

    results = in_parallel(100, lambda place: (codes[place], app.check(codes[place])["valid"]))

    assert Counter(code for code, valid in results if valid)[codes[1]] == 1
    assert Counter(code for code, valid in results if valid)[codes[0]] <= 1


def test_of_twenty_activations_at_once_exactly_one_succeeds_and_makes_one_series(app: App):
    code = app.code()

    answers = in_parallel(20, lambda _: app.post("activate", code=code))

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert Counter(answer.json().get("valid") for answer in answers)[True] == 1
    assert app.check(code)["reason"] == "code_used"
    assert app.service.post("/v1/user-factors", {"user": app.user}).json()["recovery_codes_left"] == 10


def test_of_twenty_activations_at_once_with_one_key_all_show_the_same_recovery_codes(app: App):
    code = app.code()

    answers = in_parallel(20, lambda _: app.post("activate", code=code, Idempotency_Key=app.id))

    assert {answer.status_code for answer in answers} == {200}
    assert len(answers[0].json()["recovery_codes"]) == 10
    assert [answer.json() for answer in answers if answer.json() != answers[0].json()] == []


def test_of_a_hundred_wrong_codes_at_once_no_more_are_compared_than_the_budget_allows(app: App):
    assert app.post("activate", code=app.code(-1)).json()["valid"]
    right = int(app.code())

    results = in_parallel(100, lambda place: app.check(f"{(right + 1 + place) % 1_000_000:06d}"))

    reasons = Counter(result["reason"] for result in results)
    assert reasons["wrong_code"] <= 10
    assert reasons["wrong_code"] + reasons["factor_locked"] >= 98  # two may be right, or used
    assert app.check(f"{right:06d}")["reason"] == "factor_locked"


def test_of_fifty_uses_of_one_recovery_code_exactly_one_succeeds(app: App):
    codes = app.post("activate", code=app.code()).json()["recovery_codes"]

    def use(_: int) -> dict[str, Any]:
        return dict(patiently(app.service, "/v1/recovery-codes/check", {"user": app.user, "code": codes[0]}).json())

    results = in_parallel(50, use)

    assert Counter(result["reason"] for result in results) == {None: 1, "code_used": 49}
    assert sum(result["replacement"] is not None for result in results) == 1
    assert app.service.post("/v1/user-factors", {"user": app.user}).json()["recovery_codes_left"] == 10


def test_of_fifty_uses_of_one_recovery_code_with_one_key_all_show_the_same_replacement(app: App):
    codes = app.post("activate", code=app.code()).json()["recovery_codes"]
    body = {"user": app.user, "code": codes[0]}

    def use(_: int) -> dict[str, Any]:
        return dict(patiently(app.service, "/v1/recovery-codes/check", body, Idempotency_Key=app.id).json())

    results = in_parallel(50, use)

    assert results[0]["valid"]
    assert {(result["valid"], result["replacement"]) for result in results} == {(True, results[0]["replacement"])}
    assert patiently(app.service, "/v1/recovery-codes/check", body).json()["reason"] == "code_used"


def test_six_apps_that_are_activated_at_once_are_five(service: Service):
    first = App(service)
    apps = [first, *(App(service) for _ in range(5))]
    for one in apps[1:]:
        enrolled = service.post("/v1/factors", {"user": first.user, "label": "phone"}).json()
        one.id, one._totp = enrolled["factor"]["id"], pyotp.parse_uri(enrolled["uri"])
    codes = [one.code() for one in apps]

    answers = in_parallel(6, lambda place: apps[place].post("activate", code=codes[place]).status_code)

    assert Counter(answers) == {200: 5, 409: 1}
