"""Races against two application processes on a real Valkey: exact figures, not usual ones."""

from collections import Counter
from http import HTTPStatus
from itertools import count

import pytest
from support_outbox import waiting
from support_records import record_of
from support_service import Service, eventually, in_parallel

_numbers = count(3_001_000_000)


@pytest.fixture
def number() -> str:
    """A number that no other test used."""
    return f"+92{next(_numbers)}"


@pytest.mark.parametrize("repetition", range(20))
def test_of_fifty_right_codes_at_once_exactly_one_is_approved(service: Service, number: str, repetition: int):
    one = service.start(number)
    code = service.code(one)

    results = in_parallel(50, lambda _: service.check(one, code))

    assert Counter(result["valid"] for result in results) == {True: 1, False: 49}
    assert {result["reason"] for result in results if not result["valid"]} == {"already_approved"}


@pytest.mark.parametrize("repetition", range(3))
def test_of_a_hundred_wrong_codes_at_once_exactly_as_many_are_compared_as_allowed(
    service: Service, number: str, repetition: int
):
    one = service.start(number)
    right = int(service.code(one))

    results = in_parallel(100, lambda place: service.check(one, f"{(right + 1 + place) % 1_000_000:06d}"))

    reasons = Counter(result["reason"] for result in results)
    assert reasons == {"wrong_code": 5, "max_attempts_reached": 95}
    assert record_of(service.valkey.client, f"otp:{{00}}:v:{one}")["checks"] == b"5"
    assert service.check(one, f"{right:06d}")["reason"] == "max_attempts_reached"


def test_a_right_code_among_wrong_ones_wins_at_most_once_and_never_after_the_last_guess(service: Service, number: str):
    one = service.start(number)
    right = int(service.code(one))

    results = in_parallel(50, lambda place: service.check(one, f"{(right + place) % 1_000_000:06d}"))

    compared = [result for result in results if result["reason"] in {None, "wrong_code"}]
    assert sum(result["valid"] for result in results) <= 1
    assert len(compared) <= 5


@pytest.mark.parametrize("purpose", ["login", "renewed"])
def test_a_guess_budget_holds_over_resends_new_verifications_and_idempotency_keys(
    service: Service, number: str, purpose: str
):
    """Of the 10 guesses 8 are spent before resends and new starts; 2 are left to all that comes after them."""
    body = {"to": number, "purpose": purpose}

    def begin(place: int) -> str:
        return service.start(number, purpose=purpose)

    def guess(one: str, turn: int) -> str:
        return str(service.check(one, f"{turn:06d}", Idempotency_Key=f"{one}-{turn}")["reason"])

    def resend(one: str, turn: int) -> int:
        return service.post(f"/v1/verifications/{one}/resend", Idempotency_Key=f"resend-{one}-{turn}").status_code

    def try_everything(place: int) -> list[str]:
        """Guess, resend, guess, start anew, guess."""
        one = begun[place]
        reasons = [guess(one, turn) for turn in (3, 4)]
        answers.append(resend(one, 2))
        reasons += [guess(one, turn) for turn in (5, 6)]
        anew = service.post("/v1/verifications", body, Idempotency_Key=f"anew-{one}")
        answers.append(anew.status_code)
        return reasons + [guess(anew.json()["id"], turn) for turn in (7, 8) if anew.status_code == HTTPStatus.CREATED]

    answers: list[int] = []
    begun = in_parallel(20, begin)
    before = in_parallel(8, lambda place: guess(begun[place // 2], 1 + place % 2))
    assert in_parallel(20, lambda place: resend(begun[place], 1)) == [HTTPStatus.ACCEPTED] * 20
    begun += in_parallel(10, begin)
    after = Counter(reason for reasons in in_parallel(30, try_everything) for reason in reasons)

    assert before == ["wrong_code"] * 8
    assert after.keys() == {"wrong_code", "number_locked"}
    assert len(before) + after["wrong_code"] == 10
    assert set(answers) <= {HTTPStatus.CREATED, HTTPStatus.ACCEPTED, HTTPStatus.TOO_MANY_REQUESTS}
    assert service.post("/v1/verifications", body).json()["code"] == "rate-limited"


def test_twenty_starts_with_one_idempotency_key_are_one_verification_and_one_message(service: Service, number: str):
    def start(_: int) -> tuple[int, str]:
        answer = service.post("/v1/verifications", {"to": number}, Idempotency_Key=f"once-{number}")
        return answer.status_code, answer.json()["id"]

    answers = set(in_parallel(20, start))

    assert len(answers) == 1
    ((status, one),) = answers
    assert status == 201
    eventually(lambda: service.texts(one))
    eventually(lambda: not waiting(service.valkey.client))
    assert len(service.texts(one)) == 1


def test_of_130_starts_at_once_as_many_are_accepted_as_the_limit_allows(service: Service, number: str):
    answers = Counter(in_parallel(130, lambda _: service.post("/v1/verifications", {"to": number}).status_code))

    assert answers == {201: 100, 429: 30}
