"""Races as to Twilio Verify, and by both ways at once, against two application processes on a real Valkey."""

from collections import Counter
from collections.abc import Iterator
from itertools import count

import pytest
import requests
from support_service import LIMITS, PATIENCE, SHOP, Service, eventually, in_parallel, running
from support_twilio import basic
from support_valkey import ValkeyServer

_numbers = count(3_002_000_000)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    valkey = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    purposes = {
        "login": {"resend_delays": [0], "max_sends": 3, "channels": ["sms"]},
        "payment": {"kind": "transaction", "resend_delays": [0], "max_sends": 3, "channels": ["sms"]},
    }
    shop = {**SHOP, "purposes": [*purposes], "client_ip": "none", "dialects": ["twilio"]}
    sections = {"purposes": purposes, "applications": {"shop": shop}, "limits": LIMITS}
    try:
        with running(tmp_path_factory.mktemp("service"), valkey, **sections, logging={"level": "WARNING"}) as started:
            yield started
    finally:
        valkey.stop()


@pytest.fixture(scope="module")
def paths(service: Service) -> dict[str, str]:
    """Addresses of Twilio's services by purpose."""
    listed = requests.get(f"{service.base}/twilio/v2/Services", headers=basic(), timeout=PATIENCE).json()
    return {one["friendly_name"]: one["url"] for one in listed["services"]}


@pytest.fixture
def number() -> str:
    """A number that no other test used."""
    return f"+92{next(_numbers)}"


def _post(path: str, **form: str) -> requests.Response:
    return requests.post(path, data=form, headers=basic(), timeout=PATIENCE)


def _start(path: str, number: str, **form: str) -> requests.Response:
    return _post(f"{path}/Verifications", To=number, Channel="sms", **form)


def _id(sid: str) -> str:
    digits = sid.removeprefix("VE")
    return f"vf_k1_{digits[:2]}{digits}"


@pytest.mark.parametrize("repetition", range(5))
def test_of_fifty_right_codes_at_once_by_both_ways_exactly_one_is_approved(
    service: Service, paths: dict[str, str], number: str, repetition: int
):
    sid = _start(paths["login"], number).json()["sid"]
    code = service.code(_id(sid))

    def check(place: int) -> bool:
        if place % 2:
            return bool(service.check(_id(sid), code)["valid"])
        named = {"To": number} if place % 4 else {"VerificationSid": sid}
        answer = _post(f"{paths['login']}/VerificationCheck", Code=code, **named)
        return answer.status_code == 201 and bool(answer.json()["valid"])

    assert Counter(in_parallel(50, check)) == {True: 1, False: 49}


@pytest.mark.parametrize("repetition", range(3))
def test_guesses_at_once_by_both_ways_never_exceed_the_budget(
    service: Service, paths: dict[str, str], number: str, repetition: int
):
    sid = _start(paths["login"], number).json()["sid"]
    right = int(service.code(_id(sid)))

    def guess(place: int) -> str:
        code = f"{(right + 1 + place) % 1_000_000:06d}"
        if place % 2:
            return str(service.check(_id(sid), code)["reason"])
        answer = _post(f"{paths['login']}/VerificationCheck", Code=code, To=number)
        return "wrong_code" if answer.status_code == 201 else str(answer.json()["code"])

    reasons = Counter(in_parallel(60, guess))
    assert reasons["wrong_code"] == 5
    assert reasons.keys() == {"wrong_code", "max_attempts_reached", "60202"}
    assert _post(f"{paths['login']}/VerificationCheck", Code=f"{right:06d}", To=number).json()["code"] == 60202


@pytest.mark.parametrize("repetition", range(5))
def test_starts_at_once_are_one_verification_with_as_many_messages_as_it_may_have(
    service: Service, paths: dict[str, str], number: str, repetition: int
):
    answers = in_parallel(20, lambda _: _start(paths["login"], number))
    sids = {answer.json()["sid"] for answer in answers if answer.status_code == 201}

    assert Counter(answer.status_code for answer in answers) == {201: 3, 429: 17}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 429} == {60203}
    (sid,) = sids
    eventually(lambda: len(service.texts(_id(sid))) == 3)


@pytest.mark.parametrize("repetition", range(5))
def test_starts_at_once_of_another_payment_than_the_pending_one_are_one_verification(
    service: Service, paths: dict[str, str], number: str, repetition: int
):
    first = _start(paths["payment"], number, Amount="PKR 1500", Payee="Daraz").json()["sid"]

    answers = in_parallel(20, lambda _: _start(paths["payment"], number, Amount="PKR 1600", Payee="Daraz"))
    sids = {answer.json()["sid"] for answer in answers if answer.status_code == 201}
    assert Counter(answer.status_code for answer in answers) == {201: 3, 429: 17}
    assert len(sids) == 1
    assert first not in sids


@pytest.mark.parametrize("repetition", range(5))
def test_of_starts_at_once_for_different_payments_each_is_its_own_verification(
    service: Service, paths: dict[str, str], number: str, repetition: int
):
    answers = in_parallel(
        10, lambda place: _start(paths["payment"], number, Amount=f"PKR {100 + place}", Payee="Daraz").json()
    )

    assert [one["amount"] for one in answers] == [f"{100 + place}.00 PKR" for place in range(10)]
    assert len({one["sid"] for one in answers}) == 10


@pytest.mark.parametrize("way", ["check", "cancel"])
@pytest.mark.parametrize("repetition", range(5))
def test_a_start_beside_an_end_sends_the_verification_another_or_nothing(
    service: Service, paths: dict[str, str], number: str, way: str, repetition: int
):
    sid = _start(paths["login"], number).json()["sid"]
    code = service.code(_id(sid))

    def act(place: int) -> tuple[str, int, object]:
        if place % 2:
            answer = _start(paths["login"], number)
            return "start", answer.status_code, answer.json().get("sid") or answer.json()["code"]
        if way == "cancel":
            answer = _post(f"{paths['login']}/Verifications/{sid}", Status="canceled")
            return "end", answer.status_code, answer.json()["status"]
        answer = _post(f"{paths['login']}/VerificationCheck", Code=code, VerificationSid=sid)
        return "end", answer.status_code, answer.json().get("valid")

    found = Counter(in_parallel(12, act))
    told = {about for what, status, about in found if (what, status) == ("start", 201)}
    refused = {(status, about) for what, status, about in found if what == "start" and status != 201}
    ends = {(status, about): times for (what, status, about), times in found.items() if what == "end"}
    assert len(told - {sid}) <= 1
    assert refused <= {(429, 60203), (429, 60212)}
    assert ends == ({(200, "canceled"): 6} if way == "cancel" else {(201, True): 1, (404, None): 5})
    assert requests.get(f"{paths['login']}/Verifications/{sid}", headers=basic(), timeout=PATIENCE).status_code == (
        200 if way == "cancel" else 404
    )
