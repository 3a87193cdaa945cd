"""Activations and checks of recovery codes that are repeated with their idempotency key."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support_api import START, Api, code_of
from support_factors import FACTORS, USER, App, record
from support_installation import NUMBER, World, tree
from support_pages import PUBLIC

from otp_service.store import keys
from otp_service.store.factors import FactorStore

RECOVERY = "/v1/recovery-codes"
PURPOSES = {
    "login": {"factors": ["message", "totp"], "recovery": True, "resend_delays": [0]},
    "transfer": {"factors": ["message", "totp"], "recovery": True, "after": ["login"], "resend_delays": [0]},
}


@pytest.fixture
def api(still_world: World) -> Api:
    shop = tree(still_world.url)["applications"]["shop"] | {"proofs": True, "purposes": [*PURPOSES]}
    return Api(still_world, http={"public_url": PUBLIC, "threads": 3}, purposes=PURPOSES, applications={"shop": shop})


def activate(app: App, code: str, key: str | None = "one") -> Any:
    headers = {"Idempotency_Key": key} if key else {}
    return app.api.post(f"{FACTORS}/{app.id}/activate", {"code": code}, **headers)


def recover(api: Api, code: str, key: str | None = "two", **members: str) -> Any:
    headers = {"Idempotency_Key": key} if key else {}
    return api.post(f"{RECOVERY}/check", {"user": USER, "code": code, **members}, **headers)


def in_parallel(number: int, call: Callable[[int], Any]) -> list[Any]:
    """Call at once; again where too many wait for the ledger."""

    def patiently(place: int) -> Any:
        while (answer := call(place)).status_code == 503:
            pass
        return answer

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(patiently, range(number)))


def left(api: Api) -> int:
    return int(api.post("/v1/user-factors", {"user": USER}).json["recovery_codes_left"])


# --- activations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 3600, 23 * 3600])
def test_a_repeated_activation_shows_the_same_recovery_codes(api: Api, seconds: int):
    app = App(api)
    code = app.code(-1)
    first = activate(app, code).json
    api.world.advance(seconds)

    assert len(first["recovery_codes"]) == 10
    assert activate(app, code).json == first


def test_a_repeated_activation_ends_the_enrolment_that_the_first_left(api: Api, monkeypatch: pytest.MonkeyPatch):
    app = App(api)
    code = app.code(-1)

    def dies(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(FactorStore, "forget_pending", dies)
    with pytest.raises(KeyboardInterrupt):
        activate(app, code)
    monkeypatch.undo()

    assert activate(app, code).json["valid"]
    assert api.get(f"{FACTORS}/{app.id}").json["status"] == "active"


def test_a_repetition_that_overtakes_the_end_of_the_enrolment_removes_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    app = App(api)
    code = app.code(-1)
    forget, repeated = FactorStore.forget_pending, []

    def overtaken(store: FactorStore, *arguments: Any) -> bool:
        if not repeated:
            repeated.append(None)
            repeated[0] = activate(app, code)
        return forget(store, *arguments)

    monkeypatch.setattr(FactorStore, "forget_pending", overtaken)
    first = activate(app, code)

    assert (first.status_code, repeated[0].status_code) == (200, 200)
    assert first.json["valid"]
    assert repeated[0].json["valid"]
    assert api.get(f"{FACTORS}/{app.id}").json["status"] == "active"


def test_of_twenty_equal_activations_at_once_all_are_answered_alike(api: Api):
    app = App(api)
    code = app.code(-1)
    told = [one.json for one in in_parallel(20, lambda _: activate(app, code))]

    assert told[0]["valid"]
    assert [one for one in told if one != told[0]] == []
    assert recover(api, told[0]["recovery_codes"][9]).json["valid"]


def test_a_code_activates_once_whatever_keys_come_with_it(api: Api):
    app = App(api)
    code = app.code(-1)
    told = in_parallel(20, lambda place: activate(app, code, str(place)))

    assert [one.json["valid"] for one in told if one.status_code == 200].count(True) == 1
    assert {code_of(one) for one in told if one.status_code != 200} <= {(409, "factor-not-active")}


def test_another_request_sees_nothing_of_an_activation(api: Api):
    app = App(api)
    code = app.code(-1)
    activate(app, code)

    assert code_of(activate(app, code, None)) == (409, "factor-not-active")
    assert code_of(activate(app, code, "another")) == (409, "factor-not-active")
    assert code_of(activate(app, app.code(), "one")) == (422, "idempotency-mismatch")
    assert code_of(activate(App(api), code, "one")) == (422, "idempotency-mismatch")


def test_a_repeated_activation_shows_no_code_that_is_over(api: Api):
    app = App(api)
    code = app.code(-1)
    first = activate(app, code).json["recovery_codes"]
    recover(api, first[3])
    assert activate(app, code).json["recovery_codes"] == [*first[:3], *first[4:]]
    api.post(RECOVERY, {"user": USER})

    again = activate(app, code).json
    assert (again["valid"], again["recovery_codes"]) == (True, None)


def test_a_second_app_shows_none_when_it_is_repeated(api: Api):
    activate(App(api), App(api).code(), "wrong")
    assert App(api).activate()["recovery_codes"]
    app = App(api)
    code = app.code(-1)

    assert activate(app, code).json["recovery_codes"] is None
    assert activate(app, code).json["recovery_codes"] is None
    assert left(api) == 10


def test_a_wrong_first_code_that_is_repeated_is_one_guess(api: Api):
    app = App(api)
    wrong = app.wrong()

    told = [activate(app, wrong).json for _ in range(100)]
    assert {one["reason"] for one in told} == {"wrong_code"}
    assert [one.type for one in record(api)] == ["factor.failed"]
    assert activate(app, app.code(), "right").json["valid"]
    assert (activate(app, wrong).json["status"], activate(app, wrong).json["reason"]) == ("active", "wrong_code")


@pytest.mark.parametrize("way", ["users/freeze", "users/erase", "remove", "lifted"])
def test_a_repeated_activation_is_revoked_with_its_user_or_app(api: Api, way: str):
    app = App(api)
    code = app.code(-1)
    activate(app, code)
    if way == "remove":
        app.remove(reason="stolen")
    else:
        api.post(f"/v1/{way.replace('lifted', 'users/freeze')}", {"user": USER})
    if way == "lifted":
        api.post("/v1/users/unfreeze", {"user": USER})

    again = activate(app, code).json
    assert (again["valid"], again["reason"], again["recovery_codes"]) == (False, "revoked", None)


def test_an_activation_goes_on_where_the_ledger_failed(api: Api, monkeypatch: pytest.MonkeyPatch):
    app = App(api)
    code = app.code(-1)
    factors = api.installation.context.ledger.factors
    with monkeypatch.context() as broken:
        broken.setattr(type(factors), "activate", _away)
        assert code_of(activate(app, code)) == (503, "ledger-unavailable")
    api.world.advance(300)

    assert len(activate(app, code).json["recovery_codes"]) == 10


def test_an_activation_goes_on_where_its_recovery_codes_were_not_made(api: Api, monkeypatch: pytest.MonkeyPatch):
    app = App(api)
    code = app.code(-1)
    codes = api.installation.context.ledger.recovery_codes
    with monkeypatch.context() as broken:
        broken.setattr(type(codes), "replace", _away)
        assert code_of(activate(app, code)) == (503, "ledger-unavailable")

    assert len(activate(app, code).json["recovery_codes"]) == 10


def test_after_a_first_code_that_came_to_nothing_the_next_one_activates(api: Api, monkeypatch: pytest.MonkeyPatch):
    app = App(api)
    with monkeypatch.context() as broken:
        broken.setattr(type(api.installation.context.ledger.factors), "activate", _away)
        activate(app, app.code(), None)

    assert activate(app, app.code(), None).json["reason"] == "code_used"
    assert activate(app, app.code(1), None).json["valid"]


def _away(*_: object, **__: object) -> None:
    from otp_service.errors import LedgerUnavailableError  # noqa: PLC0415

    raise LedgerUnavailableError("It is away.")


def test_who_can_write_to_redis_has_no_wrong_first_code_answered_as_right(api: Api):
    app = App(api)
    wrong = app.wrong()
    activate(app, wrong)
    (key,) = api.world.client.scan_iter("*idempotency*")
    api.world.client.hset(key, "reason", "")

    assert activate(app, wrong).json["reason"] == "wrong_code"
    assert app.read()["status"] == "pending"


# --- recovery codes -----------------------------------------------------------------------------------------


@pytest.fixture
def codes(api: Api) -> list[str]:
    made = App(api).activate()["recovery_codes"]
    assert len(made) == 10
    return list(made)


@pytest.mark.parametrize("seconds", [0, 3600, 23 * 3600])
def test_a_repeated_check_of_a_recovery_code_shows_the_same_replacement_and_proof(
    api: Api, codes: list[str], seconds: int
):
    first = recover(api, codes[0], purpose="login").json
    api.world.advance(seconds)
    again = recover(api, codes[0], purpose="login").json

    assert all(first[name] for name in ("valid", "replacement", "proof"))
    assert {**again, "proof": ""} == {**first, "proof": ""}
    assert claims(api, again["proof"])["jti"] == claims(api, first["proof"])["jti"]
    assert recover(api, first["replacement"], "three").json["valid"]
    assert recover(api, codes[0], purpose="login").json["replacement"] is None


def claims(api: Api, proof: str) -> dict[str, Any]:
    signer = api.installation.context.proof_signer
    assert signer is not None
    return dict(signer.read(proof, "shop"))


def test_of_twenty_equal_checks_of_a_recovery_code_at_once_all_are_answered_alike(api: Api, codes: list[str]):
    told = [one.json for one in in_parallel(20, lambda _: recover(api, codes[0], purpose="login"))]

    assert told[0]["valid"]
    assert {one["replacement"] for one in told} == {told[0]["replacement"]}
    assert len({claims(api, one["proof"])["jti"] for one in told}) == 1
    assert [one.type for one in record(api)].count("recovery.used") == 1
    assert left(api) == 10


def test_another_request_sees_nothing_of_a_recovery_check(api: Api, codes: list[str]):
    recover(api, codes[0])

    for key in (None, "another"):
        again = recover(api, codes[0], key).json
        assert (again["valid"], again["reason"], again["replacement"]) == (False, "code_used", None)
    assert code_of(recover(api, codes[1])) == (422, "idempotency-mismatch")
    assert recover(api, codes[1], "three").json["valid"]


def test_a_wrong_recovery_code_that_is_repeated_is_one_guess(api: Api, codes: list[str]):
    told = [recover(api, "0" * 24).json for _ in range(100)]

    assert {one["reason"] for one in told} == {"wrong_code"}
    assert [one.type for one in record(api)].count("recovery.failed") == 1
    assert recover(api, codes[0], "three").json["valid"]


def test_a_recovery_code_that_came_while_the_user_was_locked_is_not_compared_when_it_is_repeated(
    api: Api, codes: list[str]
):
    while recover(api, "0" * 24, None).json["reason"] == "wrong_code":
        pass
    assert recover(api, codes[0]).json["reason"] == "factor_locked"
    assert App(api).unlock()

    assert recover(api, codes[0]).json["reason"] == "factor_locked"
    assert recover(api, codes[0], "another").json["valid"]


@pytest.mark.parametrize("way", [["users/freeze"], ["users/freeze", "users/unfreeze"], ["users/erase"]])
def test_a_repeated_recovery_check_is_revoked_with_its_user(api: Api, codes: list[str], way: list[str]):
    recover(api, codes[0], purpose="login")
    for act in way:
        api.post(f"/v1/{act}", {"user": USER})

    again = recover(api, codes[0], purpose="login").json
    assert (again["valid"], again["reason"]) == (False, "revoked")
    assert (again["replacement"], again["proof"]) == (None, None)


def test_a_wrong_recovery_code_that_is_repeated_after_a_freeze_is_still_wrong(api: Api, codes: list[str]):
    recover(api, "0" * 24)
    api.post("/v1/users/freeze", {"user": USER})

    assert recover(api, "0" * 24).json["reason"] == "wrong_code"


@pytest.mark.parametrize("lifts", [False, True])
def test_a_recovery_check_goes_on_where_redis_failed(
    api: Api, codes: list[str], monkeypatch: pytest.MonkeyPatch, lifts: bool
):
    """The ledger has spent the code, and Redis was not told."""
    store = api.installation.context.store.factors
    count = type(store).count_guess

    def fails(self: Any, user: Any, guess: Any, *others: Any) -> Any:
        return count(self, user, guess, *others) if guess.result == "" else _unreachable()

    with monkeypatch.context() as broken:
        broken.setattr(type(store), "count_guess", fails)
        assert code_of(recover(api, codes[0], purpose="login")) == (503, "store-unavailable")
    if lifts:
        api.post("/v1/users/freeze", {"user": USER})
        api.post("/v1/users/unfreeze", {"user": USER})
    again = recover(api, codes[0], purpose="login").json

    assert again["reason"] == ("revoked" if lifts else None)
    assert (again["replacement"] is None, again["proof"] is None) == (lifts, lifts)
    assert recover(api, codes[0], "another").json["reason"] == "code_used"


def _unreachable() -> None:
    from otp_service.errors import StoreUnavailableError  # noqa: PLC0415

    raise StoreUnavailableError("It is away.")


def test_who_can_write_to_redis_has_no_used_code_answered_as_right(api: Api, codes: list[str]):
    recover(api, codes[0], "used")
    assert recover(api, codes[0]).json["reason"] == "code_used"
    for key in api.world.client.scan_iter("*idempotency*"):
        api.world.client.hset(key, "reason", "")

    assert recover(api, codes[0]).json["reason"] == "code_used"


def test_a_repeated_check_comes_to_nothing_once_its_root_key_is_gone(still_world: World, api: Api, codes: list[str]):
    recover(api, codes[0])
    (key,) = api.world.client.scan_iter("*idempotency*")
    seed = api.world.client.hget(key, "seed").decode()
    api.world.client.hset(key, "seed", f"gone.{seed.partition('.')[2]}")

    again = recover(api, codes[0]).json
    assert (again["valid"], again["reason"], again["replacement"]) == (False, "code_used", None)


# --- one proof, two recovery codes --------------------------------------------------------------------------


def login(api: Api, code: str) -> str:
    api.world.advance(1)
    return str(recover(api, code, None, purpose="login").json["proof"])


def test_of_ten_recovery_checks_with_one_proof_at_once_one_spends_its_code(api: Api, codes: list[str]):
    proof = login(api, codes.pop())
    told = in_parallel(9, lambda place: recover(api, codes[place], str(place), purpose="transfer", after=proof))

    valid = [place for place, one in enumerate(told) if one.status_code == 200]
    assert len(valid) == 1
    assert {code_of(one) for place, one in enumerate(told) if place not in valid} == {(403, "step-up-required")}
    for place in range(9):
        assert recover(api, codes[place], None).json["reason"] == ("code_used" if place in valid else None)


@pytest.mark.parametrize("other", ["start", "check"])
def test_nothing_else_uses_a_proof_up_while_the_ledger_spends_a_code(
    api: Api, codes: list[str], monkeypatch: pytest.MonkeyPatch, other: str
):
    proof = login(api, codes[0])
    ledger = api.installation.context.ledger.recovery_codes
    spend, told = type(ledger).spend, []

    def spends(*given: Any) -> Any:
        if told == []:
            told.append(None)
            body = {"to": NUMBER, "user": USER, "purpose": "transfer", "after": proof}
            checks = {"start": lambda: api.post(START, body), "check": check_another}
            with ThreadPoolExecutor(1) as elsewhere:  # a thread calls the ledger once at a time
                told.append(elsewhere.submit(checks[other]).result())
        return spend(*given)

    def check_another() -> Any:
        return recover(api, codes[2], "another", purpose="transfer", after=proof)

    monkeypatch.setattr(type(ledger), "spend", spends)
    assert recover(api, codes[1], purpose="transfer", after=proof).json["valid"]
    assert code_of(told[1]) == (403, "step-up-required")
    assert recover(api, codes[2], None).json["valid"]


def test_a_wrong_recovery_code_gives_the_proof_back_at_once(api: Api, codes: list[str]):
    proof = login(api, codes[0])
    assert recover(api, "0" * 24, purpose="transfer", after=proof).json["reason"] == "wrong_code"

    assert recover(api, codes[1], "right", purpose="transfer", after=proof).json["valid"]


def test_a_proof_whose_recovery_check_came_to_nothing_is_good_again_after_a_minute(
    api: Api, codes: list[str], monkeypatch: pytest.MonkeyPatch
):
    proof = login(api, codes[0])
    with monkeypatch.context() as broken:
        broken.setattr(type(api.installation.context.ledger.recovery_codes), "spend", _away)
        assert code_of(recover(api, codes[1], purpose="transfer", after=proof)) == (503, "ledger-unavailable")

    assert code_of(recover(api, codes[2], "other", purpose="transfer", after=proof)) == (403, "step-up-required")
    api.world.advance(61)
    assert recover(api, codes[2], "other", purpose="transfer", after=proof).json["valid"]


def test_a_check_that_came_to_nothing_is_repeated_with_its_proof(
    api: Api, codes: list[str], monkeypatch: pytest.MonkeyPatch
):
    proof = login(api, codes[0])
    with monkeypatch.context() as broken:
        broken.setattr(type(api.installation.context.ledger.recovery_codes), "spend", _away)
        recover(api, codes[1], purpose="transfer", after=proof)

    assert recover(api, codes[1], purpose="transfer", after=proof).json["valid"]


def test_all_that_is_remembered_expires(api: Api, codes: list[str]):
    recover(api, codes[0], purpose="login")
    remembered = [*api.world.client.scan_iter(f"{keys.PREFIX}:*idempotency*")]

    assert remembered
    assert all(0 < api.world.client.ttl(one) <= 24 * 3600 for one in remembered)
