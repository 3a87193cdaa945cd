"""What a purpose's policy says: which factors confirm it, which goes first, and what has to be approved before."""

from typing import Any

import jwt
import pytest
from support_api import START, Api, code_of, round_trips
from support_factors import FACTORS, USER, App, record
from support_installation import BANK_KEY, NUMBER, World, tree
from support_outbox import jobs_of

from otp_service.domain.totp import FactorFailure

ISSUER = "https://otp.example"
RECOVERY = "/v1/recovery-codes"
PURPOSES = {
    "login": {"factors": ["totp", "message"], "recovery": True},
    "vault": {"factors": ["totp"]},
    "transfer": {"factors": ["message", "totp"], "recovery": True, "after": ["login"], "after_max_age": 600},
    "newsletter": {},
}


@pytest.fixture
def api(still_world: World, hot_path: bool) -> Api:
    applications = tree(still_world.url)["applications"]
    return Api(
        still_world,
        hot_path=hot_path,
        proofs={"issuer": ISSUER},
        purposes=PURPOSES,
        applications={name: {**one, "proofs": True, "purposes": [*PURPOSES]} for name, one in applications.items()},
    )


@pytest.fixture
def app(api: Api) -> App:
    one = App(api)
    assert one.activate()["valid"]
    return one


def check(app: App, code: str | None = None, **members: Any) -> Any:
    return app.api.post(f"{FACTORS}/{app.id}/check", {"code": code or app.code(), **members})


def start(api: Api, **members: Any) -> Any:
    return api.post(START, {"to": NUMBER, "user": USER, **members})


def claims_of(proof: str) -> dict[str, Any]:
    return dict(jwt.decode(proof, options={"verify_signature": False}))


# --- which factors ------------------------------------------------------------------------------------------


def test_an_app_confirms_what_its_policy_says(app: App):
    assert code_of(check(app, purpose="newsletter")) == (403, "forbidden")
    assert code_of(check(app, purpose="unknown")) == (403, "forbidden")
    assert check(app, purpose="login").json["valid"]
    assert [one.member("purpose") for one in record(app.api) if one.type == "factor.approved"] == ["login"]


def test_a_recovery_code_confirms_where_it_may(app: App):
    code = app.api.post(RECOVERY, {"user": USER}).json["recovery_codes"][0]
    body = {"user": USER, "code": code}

    assert code_of(app.api.post(f"{RECOVERY}/check", {**body, "purpose": "vault"})) == (403, "forbidden")
    assert app.api.post(f"{RECOVERY}/check", {**body, "purpose": "login"}).json["valid"]


def test_an_app_of_somebody_else_is_not_found(app: App):
    assert code_of(check(app, user="mallory", purpose="login")) == (404, "not-found")
    assert check(app, user=USER, purpose="login").json["valid"]


# --- which goes first ---------------------------------------------------------------------------------------


def test_who_has_an_app_is_sent_nothing_until_a_message_is_asked_for(app: App):
    refused = start(app.api, purpose="login")

    assert code_of(refused) == (409, "factor-first")
    assert refused.json["factors"] == [app.id]
    assert jobs_of(app.api.installation.context) == []
    assert start(app.api, purpose="login", channel="sms").status_code == 201


def test_who_has_no_app_gets_a_message(app: App):
    assert start(app.api, user="other").status_code == 201
    assert app.api.post(START, {"to": "+923009876543"}).status_code == 201
    app.remove(reason="lost")
    assert start(app.api, to="+923009876544").status_code == 201


def test_the_app_of_a_user_of_the_same_name_elsewhere_is_not_asked_for(app: App):
    bank = object.__new__(Api)
    bank.__dict__ = {**app.api.__dict__, "key": BANK_KEY}
    assert start(bank).status_code == 201


def test_a_message_goes_first_where_the_policy_says_so(app: App):
    assert start(app.api, purpose="newsletter").status_code == 201


@pytest.mark.parametrize("members", [{}, {"channel": "sms"}], ids=["by default", "by SMS"])
def test_where_only_apps_confirm_nothing_is_ever_sent(app: App, members: dict[str, str]):
    assert code_of(start(app.api, purpose="vault", **members)) == (409, "factor-first")
    assert code_of(start(app.api, purpose="vault", user="other", **members)) == (403, "forbidden")


# --- proofs -------------------------------------------------------------------------------------------------


def test_the_proof_of_an_app_names_it_and_the_user(app: App):
    answer = check(app, user=USER, purpose="login").json
    claims = claims_of(answer["proof"])

    assert claims.pop("iat") == claims.pop("auth_time") == claims.pop("exp") - 300
    assert claims.pop("jti").startswith(f"{app.id}.")
    assert claims == {
        "iss": ISSUER, "aud": "shop", "sub": USER, "factor": app.id, "purpose": "login", "amr": ["otp"]
    }  # fmt: skip


def test_what_is_no_approval_of_a_purpose_has_no_proof(app: App):
    code = app.code()
    wrong, unnamed, used = check(app, app.wrong(), purpose="login"), check(app, code), check(app, code, purpose="login")

    assert [one.json["proof"] for one in (wrong, unnamed, used)] == [None] * 3
    assert used.json["reason"] == FactorFailure.CODE_USED


def test_the_proof_of_a_recovery_code_names_the_user(app: App):
    code = app.api.post(RECOVERY, {"user": USER}).json["recovery_codes"][0]
    answer = app.api.post(f"{RECOVERY}/check", {"user": USER, "code": code, "purpose": "login"}).json
    claims = claims_of(answer["proof"])

    assert (claims["sub"], claims["amr"], claims["purpose"]) == (USER, ["recovery"], "login")
    assert {"factor", "verification"}.isdisjoint(claims)
    assert redeem(app.api, answer["proof"]) == (200, None)
    assert redeem(app.api, answer["proof"]) == (409, "already-redeemed")


def test_the_proof_of_an_app_is_used_once(app: App):
    once = {"Idempotency_Key": "0123456789abcdef"}
    first = app.api.post(f"{FACTORS}/{app.id}/check", {"code": app.code(), "purpose": "login"}, **once).json["proof"]
    app.api.world.advance(1)
    again = app.api.post(f"{FACTORS}/{app.id}/check", {"code": app.code(), "purpose": "login"}, **once).json["proof"]
    app.api.world.advance(30)
    other = check(app, purpose="login").json["proof"]

    assert claims_of(first)["jti"] == claims_of(again)["jti"]
    assert all(app.api.world.client.pttl(name) > 0 for name in app.api.world.client.keys("*:evidence:*"))
    assert redeem(app.api, first) == (200, None)
    assert redeem(app.api, again) == (409, "already-redeemed")
    assert redeem(app.api, other) == (200, None)


def test_what_redis_has_lost_is_used(app: App):
    proof = check(app, purpose="login").json["proof"]
    app.api.world.client.delete(*app.api.world.client.keys("*evidence*"))

    assert redeem(app.api, proof) == (409, "already-redeemed")


def redeem(api: Api, proof: str) -> tuple[int, str | None]:
    answer = api.post("/v1/proofs/redeem", {"proof": proof})
    return answer.status_code, answer.json.get("code")


# --- what comes before --------------------------------------------------------------------------------------


def approved(api: Api, purpose: str = "login", user: str = USER, to: str = "+923005550001") -> str:
    """Approve by a message; return the proof."""
    one = api.start(to, user=user, purpose=purpose, channel="sms")
    return str(api.post(f"{START}/{one}/check", {"code": api.code(one)}).json["proof"])


def test_a_step_up_needs_a_proof_of_what_comes_before(app: App):
    by_message, by_app = approved(app.api), check(app, user=USER, purpose="login").json["proof"]

    assert code_of(start(app.api, purpose="transfer")) == (403, "step-up-required")
    for proof in (by_message, by_app):
        assert start(app.api, purpose="transfer", after=proof).status_code == 201
        app.api.world.advance(60)
    assert code_of(check(app, user=USER, purpose="transfer")) == (403, "step-up-required")
    assert check(app, user=USER, purpose="transfer", after=approved(app.api)).json["valid"]


def test_a_step_up_takes_no_further_round_trip(app: App):
    proof = check(app, user=USER, purpose="login").json["proof"]
    app.api.world.advance(30)
    code, recovery = app.code(), app.api.post(RECOVERY, {"user": USER}).json["recovery_codes"][0]
    body = {"user": USER, "purpose": "transfer"}
    others = [approved(app.api) for _ in range(3)]
    assert start(app.api, purpose="transfer", after=others.pop()).status_code == 201  # the scripts have learned it

    assert round_trips(app.api, lambda: start(app.api, purpose="transfer", after=proof).status_code == 201) == 1
    assert round_trips(app.api, lambda: check(app, code, **body, after=others[0]).json["valid"]) == 2
    recovered = {**body, "code": recovery, "after": others[1]}
    assert round_trips(app.api, lambda: app.api.post(f"{RECOVERY}/check", recovered).json["valid"]) == 2


def test_a_recovery_code_does_not_go_past_a_step_up(app: App):
    code = app.api.post(RECOVERY, {"user": USER}).json["recovery_codes"][0]
    body = {"user": USER, "code": code, "purpose": "transfer"}

    assert code_of(app.api.post(f"{RECOVERY}/check", body)) == (403, "step-up-required")
    assert app.api.post(f"{RECOVERY}/check", {**body, "after": approved(app.api)}).json["valid"]


def test_a_proof_of_something_else_is_none_of_what_comes_before(app: App):
    api = app.api
    bank = object.__new__(Api)
    bank.__dict__ = {**api.__dict__, "key": BANK_KEY}
    good = approved(api)
    others = {
        "another purpose": approved(api, "newsletter", to="+923005550002"),
        "another user": approved(api, user="other", to="+923005550003"),
        "nobody": check(app, purpose="login").json["proof"],
        "another application": approved(bank, to="+923005550004"),
        "altered": good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
        "no proof": "nonsense",
    }

    for what, proof in others.items():
        assert code_of(start(api, purpose="transfer", after=proof)) == (403, "step-up-required"), what
    assert start(api, purpose="transfer", after=good).status_code == 201


def test_what_comes_before_is_good_for_as_long_as_the_policy_says(app: App):
    proof, again = approved(app.api), approved(app.api)
    app.api.deliver()
    app.api.world.advance(599)
    assert start(app.api, purpose="transfer", after=proof).status_code == 201
    app.api.world.advance(2)
    assert code_of(start(app.api, purpose="transfer", after=again, to="+923005550009")) == (403, "step-up-required")
