"""An approval is evidence until what it rests on is frozen, removed or erased, and for one start alone."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support_api import START, Api, code_of
from support_factors import FACTORS, USER, App, record
from support_installation import NUMBER, World, key, tree
from support_keys import assert_all_keys_expire
from support_pages import PUBLIC, REDEEM, RETURN, Person

from otp_service.domain.consents import EVERY_APPLICATION, SuppressionSource
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.services.factors import reseal
from otp_service.services.subjects import freeze, unfreeze
from otp_service.store import keys

RECOVERY = "/v1/recovery-codes"
OTHER = "+923007654321"
PURPOSES = {
    "login": {"factors": ["message", "totp"], "recovery": True, "resend_delays": [0]},
    "transfer": {"factors": ["message", "totp"], "recovery": True, "after": ["login"], "resend_delays": [0]},
    "newsletter": {},
}
PERMISSIVE = {"number": ["1000/hour"], "failed_checks": ["1000/hour"]}


@pytest.fixture(params=[1, 16], ids=["one bucket", "16 buckets"])
def api(still_world: World, request: pytest.FixtureRequest) -> Api:
    return made(still_world, keys={"root": f"k1:{key()}", "pseudonym": key(), "buckets": request.param})


def made(world: World, **sections: Any) -> Api:
    settings = {"http": {"public_url": PUBLIC}, "purposes": PURPOSES, "limits": PERMISSIVE, **sections}
    shop = tree(world.url)["applications"]["shop"]
    shop |= {"proofs": True, "purposes": [*settings["purposes"]], "page_return_urls": [RETURN]}
    return Api(world, **settings, applications={"shop": shop})


class Customer:
    """A user with an app, recovery codes and a number, and all that was approved."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.app = App(api)
        assert self.app.activate()["valid"]
        self.recovery = api.post(RECOVERY, {"user": USER}).json["recovery_codes"]

    def by_app(self, **headers: str) -> Any:
        self.api.world.advance(30)
        return self.repeat_by_app(self.app.code(), **headers)

    def repeat_by_app(self, code: str, **headers: str) -> Any:
        body = {"code": code, "user": USER, "purpose": "login"}
        return self.api.post(f"{FACTORS}/{self.app.id}/check", body, **headers).json

    def by_message(self) -> str:
        one = self.api.start(NUMBER, user=USER)
        return str(self.api.post(f"{START}/{one}/check", {"code": self.api.code(one)}).json["proof"])

    def by_recovery(self) -> str:
        self.api.world.advance(1)  # their proofs are named by milliseconds
        body = {"user": USER, "code": self.recovery.pop(), "purpose": "login"}
        return str(self.api.post(f"{RECOVERY}/check", body).json["proof"])

    def proof(self, how: str) -> str:
        ways = {"app": lambda: self.by_app()["proof"], "message": self.by_message, "recovery": self.by_recovery}
        return str(ways[how]())

    def transfer(self, proof: str, purpose: str = "transfer", **headers: str) -> Any:
        body = {"to": OTHER, "user": USER, "purpose": purpose, "after": proof}
        return self.api.post(START, body, **headers)


HOW = ("app", "message", "recovery")
Use = Callable[[], bool]
"""Whether something is accepted."""


def uses(customer: Customer) -> dict[str, Use]:
    """Approve and start all that there is; return what may be done with it."""
    found: dict[str, Use] = {}
    for how in HOW:
        found[f"start after {how}"] = _start(customer, customer.proof(how))
        found[f"pending after {how}"] = _pending(customer, customer.transfer(customer.proof(how)).json["id"])
        found[f"redeem {how}"] = _redeem(customer, customer.proof(how))
    found["repeat app"] = _repeat_app(customer)
    found["pending of the user"] = _pending(customer, customer.api.start(OTHER, user=USER))
    found["pending of the number"] = _pending(customer, customer.api.start(NUMBER))
    found["repeat message"] = _repeat_message(customer)
    found["page"] = _page(customer)
    found["read"] = _read(customer)
    return found


def _start(customer: Customer, proof: str) -> Use:
    def use() -> bool:
        answer = customer.transfer(proof)
        assert answer.status_code == 201 or code_of(answer) == (403, "step-up-required")
        return bool(answer.status_code == 201)

    return use


def _pending(customer: Customer, one: str) -> Use:
    code = customer.api.code(one)

    def use() -> bool:
        answer = customer.api.post(f"{START}/{one}/check", {"code": code}).json
        assert answer["valid"] or (answer["status"], answer["reason"]) == ("canceled", "canceled")
        assert (answer["proof"] is not None) is answer["valid"]
        return bool(answer["valid"])

    return use


def _redeem(customer: Customer, proof: str) -> Use:
    def use() -> bool:
        answer = customer.api.post("/v1/proofs/redeem", {"proof": proof})
        assert answer.status_code == 200 or code_of(answer) == (422, "invalid-proof")
        return bool(answer.status_code == 200)

    return use


def _repeat(first: Any, again: Callable[[], Any]) -> Use:
    assert first["valid"]

    def use() -> bool:
        answer = again()
        assert answer["valid"] or (answer["reason"], answer["proof"]) == ("revoked", None)
        assert answer["valid"] or answer["status"] in {"approved", "active", "removed"}
        return bool(answer["valid"])

    return use


def _repeat_app(customer: Customer) -> Use:
    first = customer.by_app(Idempotency_Key="app")
    code = customer.app.code()
    return _repeat(first, lambda: customer.repeat_by_app(code, Idempotency_Key="app"))


def _repeat_message(customer: Customer) -> Use:
    one = customer.api.start(NUMBER, user=USER)
    body = {"code": customer.api.code(one)}

    def check() -> Any:
        return customer.api.post(f"{START}/{one}/check", body, Idempotency_Key="message").json

    return _repeat(check(), check)


def _page(customer: Customer) -> Use:
    result = Person(customer.api, to=NUMBER, user=USER).approve()

    def use() -> bool:
        answer = customer.api.post(REDEEM, {"result": result})
        assert answer.status_code == 200 or code_of(answer) == (422, "invalid-result")
        assert answer.status_code != 200 or (answer.json["status"] == "approved" and answer.json["proof"])
        return bool(answer.status_code == 200)

    return use


def _read(customer: Customer) -> Use:
    """A page checks with a client token, and the back end reads what came of it."""
    token = {"client_token": {"allow": ["check"]}}
    started = customer.api.post(START, {"to": NUMBER, "user": USER, **token}).json
    path, body = f"{START}/{started['id']}", {"code": customer.api.code(started["id"])}
    headers = {"Authorization": f"Bearer {started['client_token']}"}
    assert customer.api.client.post(f"{path}/check", json=body, headers=headers).json["valid"]

    def use() -> bool:
        status = customer.api.get(path).json["status"]
        assert status in {"approved", "canceled"}
        return bool(status == "approved")

    return use


def _call(*paths: str) -> Callable[[Customer], None]:
    def act(customer: Customer) -> None:
        for path in paths:
            body = {"user": USER} if path.startswith("users") else {"to": NUMBER}
            assert customer.api.post(f"/v1/{path}", body).status_code == 200

    return act


def _operator(customer: Customer, *, lifts: bool) -> None:
    context = customer.api.installation.context
    number = subject_key(context.keyring, parse_destination(NUMBER, None))
    freeze(context, number, EVERY_APPLICATION, SuppressionSource.OPERATOR)
    if lifts:
        unfreeze(context, number, EVERY_APPLICATION, SuppressionSource.OPERATOR)


_OF_APP = {"start after app", "pending after app", "redeem app", "repeat app"}
_OF_NUMBER = {"start after message", "pending after message", "redeem message", "repeat message", "page", "read"}
_OF_USER = _OF_APP | _OF_NUMBER | {"start after recovery", "pending after recovery", "redeem recovery"}
WAYS: dict[str, tuple[Callable[[Customer], Any], set[str]]] = {
    "nothing": (lambda _: None, set()),
    "user frozen": (_call("users/freeze"), _OF_USER | {"pending of the user"}),
    "user frozen and unfrozen": (_call("users/freeze", "users/unfreeze"), _OF_USER | {"pending of the user"}),
    "user erased": (_call("users/erase"), _OF_USER | {"pending of the user"}),
    "app removed": (lambda customer: customer.app.remove(reason="stolen"), _OF_APP),
    "number frozen": (_call("subjects/freeze"), _OF_NUMBER | {"pending of the number"}),
    "number frozen and unfrozen": (
        _call("subjects/freeze", "subjects/unfreeze"), _OF_NUMBER | {"pending of the number"},
    ),
    "number frozen for all": (lambda one: _operator(one, lifts=False), _OF_NUMBER | {"pending of the number"}),
    "number frozen and unfrozen for all": (
        lambda one: _operator(one, lifts=True), _OF_NUMBER | {"pending of the number"},
    ),
    "number erased": (_call("subjects/erase"), _OF_NUMBER | {"pending of the number"}),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_what_rests_on_somebody_ends_with_them_and_nothing_else_does(api: Api, way: str):
    customer = Customer(api)
    found = uses(customer)
    act, ends = WAYS[way]
    act(customer)

    assert {what for what, use in found.items() if not use()} == ends


# --- used once ----------------------------------------------------------------------------------------------


def refused(answer: Any) -> bool:
    return code_of(answer) == (403, "step-up-required")


@pytest.mark.parametrize("how", HOW)
def test_a_proof_starts_one_verification(api: Api, how: str):
    customer = Customer(api)
    proof = customer.proof(how)

    assert customer.transfer(proof).status_code == 201
    assert refused(customer.transfer(proof))


def test_of_sixty_starts_with_one_proof_at_once_one_passes(api: Api):
    customer = Customer(api)
    proof = customer.proof("app")
    with ThreadPoolExecutor(60) as pool:
        told = [one.status_code for one in pool.map(lambda _: customer.transfer(proof), range(60))]

    assert Counter(told) == {201: 1, 403: 59}


def test_a_start_that_is_asked_for_again_finds_its_own(api: Api):
    customer = Customer(api)
    proof = customer.proof("app")
    first = customer.transfer(proof, Idempotency_Key="transfer")
    api.world.advance(601)
    again = customer.transfer(proof, Idempotency_Key="transfer")

    assert (first.status_code, again.status_code, again.json["id"]) == (201, 201, first.json["id"])
    assert refused(customer.transfer(proof, Idempotency_Key="another"))


def test_a_refused_start_uses_no_proof_up(api: Api):
    customer = Customer(api)
    proof = customer.proof("app")
    freeze_of = {"to": OTHER}
    assert api.post("/v1/subjects/freeze", freeze_of).status_code == 200

    assert code_of(customer.transfer(proof)) == (403, "recipient-frozen")
    assert api.post("/v1/subjects/unfreeze", freeze_of).status_code == 200
    assert customer.transfer(proof).status_code == 201


def test_a_start_that_a_rule_refuses_uses_no_proof_up(still_world: World):
    api = made(still_world, limits={"number": ["2/5 minutes"]})
    customer = Customer(api)
    proof = customer.proof("app")
    for _ in range(2):
        api.start(OTHER)
    api.deliver()

    assert code_of(customer.transfer(proof)) == (429, "rate-limited")
    api.world.advance(301)
    assert customer.transfer(proof).status_code == 201


def test_a_check_that_is_right_uses_a_proof_up_and_a_wrong_one_does_not(api: Api):
    customer = Customer(api)
    proof = customer.proof("message")
    body = {"user": USER, "purpose": "transfer", "after": proof}

    def by_app(code: str, **headers: str) -> Any:
        return api.post(f"{FACTORS}/{customer.app.id}/check", {**body, "code": code}, **headers)

    def by_recovery(code: str) -> Any:
        return api.post(f"{RECOVERY}/check", {**body, "code": code})

    assert by_app(customer.app.wrong()).json["reason"] == "wrong_code"
    assert by_recovery("0" * 24).json["reason"] == "wrong_code"
    code = customer.app.code()
    first = by_app(code, Idempotency_Key="once").json
    api.world.advance(30)
    assert first["valid"]
    assert by_app(code, Idempotency_Key="once").json["valid"]
    assert refused(by_app(customer.app.code()))
    assert refused(by_recovery(customer.recovery[-1]))
    assert refused(customer.transfer(proof))
    body["after"] = customer.proof("message")
    assert by_recovery(customer.recovery[-1]).json["valid"]
    assert refused(customer.transfer(body["after"]))


def test_to_redeem_a_proof_and_to_start_with_it_are_two_things(api: Api):
    customer = Customer(api)
    proof = customer.proof("app")

    assert _redeem(customer, proof)()
    assert customer.transfer(proof).status_code == 201
    other = customer.proof("app")
    assert customer.transfer(other).status_code == 201
    assert _redeem(customer, other)()


# --- how long it is kept ------------------------------------------------------------------------------------


def test_it_is_kept_for_as_long_as_a_purpose_may_come_after_it(still_world: World):
    later = {"after": ["login"], "after_max_age": 3600}
    api = made(still_world, purposes={**PURPOSES, "vault": later, "withdrawal": {**later, "after_max_age": 1200}})
    customer = Customer(api)
    found = {how: {name: api.world.client.pttl(name) for name in evidence(api)} for how in HOW if customer.proof(how)}
    assert {life for of_way in found.values() for life in of_way.values()} <= set(range(3500_000, 3600_001))

    other = api.start(OTHER, purpose="newsletter")
    assert api.post(f"{START}/{other}/check", {"code": api.code(other)}).json["proof"]
    bucket = api.installation.context.keyring.bucket_of_id(other)
    assert bucket
    assert api.world.client.pttl(keys.evidence(bucket, other)) == 300_000


def test_it_is_good_for_each_purpose_for_as_long_as_that_one_says(still_world: World):
    api = made(still_world, purposes={**PURPOSES, "vault": {"after": ["login"], "after_max_age": 3600}})
    customer = Customer(api)
    young, old = customer.proof("message"), customer.proof("message")
    api.deliver()
    api.world.advance(600)
    assert customer.transfer(young).status_code == 201
    api.world.advance(1)

    assert refused(customer.transfer(old))
    assert customer.transfer(old, purpose="vault").status_code == 201


def evidence(api: Api) -> list[bytes]:
    return list(api.world.client.keys("*:evidence:*"))


def test_an_application_without_proofs_has_none(still_world: World):
    api = Api(still_world)
    one = api.start()
    assert api.post(f"{START}/{one}/check", {"code": api.code(one)}).json["valid"]

    assert evidence(api) == []


def test_what_redis_has_lost_starts_nothing(api: Api):
    customer = Customer(api)
    proof = customer.proof("app")
    api.world.client.delete(*evidence(api))

    assert refused(customer.transfer(proof))


@pytest.mark.parametrize("how", HOW)
def test_what_was_approved_before_a_fence_starts_nothing(api: Api, how: str):
    customer = Customer(api)
    before, redeemed = customer.proof(how), customer.proof(how)
    api.installation.context.store.fences.put()

    assert refused(customer.transfer(before))
    assert code_of(api.post("/v1/proofs/redeem", {"proof": redeemed})) == (409, "already-redeemed")
    api.world.advance(120)  # codes of apps that may have been used are over
    assert customer.transfer(customer.proof(how)).status_code == 201


# --- what comes after ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["user frozen and unfrozen", "user erased", "number frozen and unfrozen"])
def test_what_is_approved_afterwards_is_evidence(api: Api, way: str):
    WAYS[way][0](Customer(api))
    customer = Customer(api)

    assert all(use() for use in uses(customer).values())


@pytest.mark.parametrize("way", ["user erased", "number erased", "user frozen and unfrozen"])
def test_a_mirror_that_is_built_anew_knows_it_too(api: Api, way: str):
    customer = Customer(api)
    by_message, by_recovery = customer.proof("message"), customer.proof("recovery")
    WAYS[way][0](customer)
    sync = api.installation.context.mirror_sync
    sync.rebuild()

    assert refused(customer.transfer(by_message))
    assert customer.transfer(by_recovery).status_code == (403 if way.startswith("user") else 201)


def test_an_erasure_is_known_until_no_evidence_of_before_is_left(api: Api):
    number = subject_key(api.installation.context.keyring, parse_destination(NUMBER, None))
    _call("subjects/erase")(Customer(api))
    mirrored = keys.mirrored(number.bucket, number.pseudonym)
    api.world.advance(24 * 3600 - 1)
    assert api.world.client.hget(mirrored, "e:shop")
    api.world.advance(2)

    assert not api.world.client.exists(mirrored)


def test_what_was_approved_after_it_ends_with_it_too(api: Api):
    """A transfer that a stolen app led to proves no more than the app does."""
    customer = Customer(api)
    one = customer.transfer(customer.proof("app")).json["id"]
    answer = api.post(f"{START}/{one}/check", {"code": api.code(one)}).json
    assert answer["valid"]
    customer.app.remove(reason="stolen")

    assert not _redeem(customer, answer["proof"])()


def test_an_app_that_is_sealed_anew_is_the_same(still_world: World):
    roots, ledger = {"root": f"k1:{key()}", "pseudonym": key()}, tree(still_world.url)["ledger"]
    customer = Customer(made(still_world, keys=roots, ledger=ledger))
    proof = customer.proof("app")
    rotated = made(still_world, keys={**roots, "root": f"k2:{key()} {roots['root']}"}, ledger=ledger)
    assert list(reseal(rotated.installation.context)) == [1]
    customer.api = rotated

    assert customer.transfer(proof).status_code == 201


# --- pending ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["users/freeze", "users/erase"])
def test_of_a_user_s_pending_transfers_none_is_approved(api: Api, way: str):
    customer = Customer(api)
    begun = [customer.transfer(customer.proof("message")).json["id"] for _ in range(5)]
    codes = [api.code(one) for one in begun]
    _call(way)(customer)

    assert {api.get(f"{START}/{one}").json["status"] for one in begun} == {"canceled"}
    assert {_check(api, one, code) for one, code in zip(begun, codes, strict=True)} == {(False, "canceled", None)}


def test_of_more_verifications_than_are_remembered_of_a_user_none_is_approved(api: Api):
    begun = [api.start(OTHER, user=USER) for _ in range(23)]
    codes = [api.code(one) for one in begun]
    assert api.post("/v1/users/freeze", {"user": USER}).status_code == 200
    states = [api.get(f"{START}/{one}").json["status"] for one in begun]

    assert states == ["pending"] * 3 + ["canceled"] * 20
    assert {_check(api, one, code) for one, code in zip(begun, codes, strict=True)} == {(False, "canceled", None)}


def _check(api: Api, one: str, code: str) -> tuple[bool, str, str | None]:
    answer = api.post(f"{START}/{one}/check", {"code": code}).json
    return answer["valid"], answer["status"], answer["proof"]


def test_no_message_follows_of_what_is_not_valid_any_more(api: Api):
    customer = Customer(api)
    by_app = [customer.transfer(customer.proof("app")).json["id"] for _ in range(2)]
    (waiting, again) = by_app
    customer.app.remove(reason="stolen")
    api.deliver()

    told = [api.get(f"{START}/{one}").json["deliveries"] for one in by_app]
    assert {(one["status"], one["reason"]) for (one,) in told} == {("failed", "canceled")}
    assert code_of(api.post(f"{START}/{again}/resend")) == (409, "conflict")
    assert api.get(f"{START}/{waiting}").json["status"] == "pending", "a right code ends it"


def test_a_start_for_a_frozen_user_is_refused(api: Api):
    customer = Customer(api)
    _call("users/freeze")(customer)

    assert code_of(api.post(START, {"to": NUMBER, "user": USER})) == (403, "recipient-frozen")
    assert api.post(START, {"to": NUMBER, "user": "another"}).status_code == 201
    _call("users/unfreeze")(customer)
    assert api.post(START, {"to": NUMBER, "user": USER}).status_code == 201


def test_why_a_verification_was_canceled_is_told(api: Api):
    customer = Customer(api)
    begun = [customer.transfer(customer.proof("app")).json["id"] for _ in range(2)]
    codes = [api.code(one) for one in begun]
    customer.app.remove(reason="stolen")
    api.post(f"{START}/{begun[0]}/check", {"code": codes[0]})
    _call("users/erase")(customer)

    ended = [one for one in record(api) if one.type == "verification.canceled"]
    assert [(one.member("id"), one.member("reason")) for one in ended] == [(begun[0], "removed"), (begun[1], "erased")]


# --- what is repeated, and what a check leads to ------------------------------------------------------------


def test_a_wrong_code_that_is_repeated_afterwards_is_still_wrong(api: Api):
    customer = Customer(api)
    one = api.start(NUMBER, user=USER)
    body = {"code": api.wrong(one)}
    wrong = customer.app.wrong()

    def reasons() -> set[str]:
        by_message = api.post(f"{START}/{one}/check", body, Idempotency_Key="message").json
        return {by_message["reason"], customer.repeat_by_app(wrong, Idempotency_Key="app")["reason"]}

    assert reasons() == {"wrong_code"}
    _call("users/freeze")(customer)
    assert reasons() == {"wrong_code"}


@pytest.mark.parametrize("ways", [(), ("number frozen and unfrozen",)], ids=["", "after a lift"])
def test_a_check_rests_on_the_approval_that_came_before(api: Api, ways: tuple[str, ...]):
    customer = Customer(api)
    for way in ways:
        WAYS[way][0](customer)
    body = {"user": USER, "purpose": "transfer", "after": customer.proof("message"), "code": customer.app.code()}
    recovered = {**body, "after": customer.proof("message"), "code": customer.recovery.pop()}

    def by_app() -> Any:
        return api.post(f"{FACTORS}/{customer.app.id}/check", body, Idempotency_Key="once").json

    proofs = [by_app()["proof"], by_app()["proof"]]
    by_recovery = api.post(f"{RECOVERY}/check", recovered).json["proof"]
    assert _redeem(customer, proofs[0])()
    assert by_app()["valid"]
    _call("subjects/freeze")(customer)

    assert not _redeem(customer, proofs[1])()
    assert not _redeem(customer, by_recovery)()
    assert by_app()["reason"] == "revoked"


def test_while_the_mirror_is_lost_nobody_is_asked_to_log_in_anew(api: Api):
    customer = Customer(api)
    proof = customer.proof("app")
    api.world.client.delete(*api.world.client.keys("*:mirror/head"), *api.world.client.keys("*:mirror/number/*"))

    assert code_of(customer.transfer(proof)) == (503, "ledger-unavailable")


@pytest.mark.parametrize("missing", ["*:mirror/number/*", "none"], ids=["nobody is there yet", "all but the rest are"])
def test_while_the_mirror_is_built_anew_nothing_is_proved_canceled_or_used_up(api: Api, missing: str):
    customer = Customer(api)
    pending = customer.transfer(customer.proof("app")).json["id"]
    code, right, repeated = api.code(pending), customer.by_app(Idempotency_Key="app"), api.start(NUMBER, user=USER)
    message, recovery = customer.proof("message"), {"user": USER, "code": customer.recovery.pop(), "purpose": "login"}
    again = {"code": api.code(repeated)}, {"code": customer.app.code(), "user": USER, "purpose": "login"}
    by_page = Person(api, to=NUMBER, user=USER).approve()

    def calls() -> list[Any]:
        return [
            api.post("/v1/proofs/redeem", {"proof": right["proof"]}),
            api.post("/v1/proofs/redeem", {"proof": message}),
            api.post(REDEEM, {"result": by_page}),
            api.post(f"{START}/{repeated}/check", again[0], Idempotency_Key="message"),
            api.post(f"{FACTORS}/{customer.app.id}/check", again[1], Idempotency_Key="app"),
            api.post(f"{RECOVERY}/check", recovery, Idempotency_Key="recovery"),
            api.post(f"{START}/{pending}/check", {"code": code}),
        ]

    for path, body, key_ in (
        (f"{START}/{repeated}/check", again[0], "message"), (f"{RECOVERY}/check", recovery, "recovery"),
    ):  # fmt: skip
        assert api.post(path, body, Idempotency_Key=key_).json["valid"]
    lost = [*api.world.client.keys("*:mirror/head"), *api.world.client.keys(missing)]
    kept = {name: api.world.client.dump(name) for name in lost}
    api.world.client.delete(*lost)

    assert [code_of(answer) for answer in calls()] == [(503, "ledger-unavailable")] * 7
    assert code_of(api.get(f"{START}/{repeated}")) == (503, "ledger-unavailable")
    for name, dumped in kept.items():
        api.world.client.restore(name, 0, dumped)
    assert [answer.status_code for answer in calls()] == [200] * 7
    assert api.get(f"{START}/{pending}").json["status"] == "approved"


def test_all_that_is_kept_of_it_expires(api: Api):
    uses(Customer(api))

    assert_all_keys_expire(api.world.client)
    assert api.world.client.keys("*:started:*")
