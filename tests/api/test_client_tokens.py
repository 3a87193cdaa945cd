"""Client tokens: each does what it allows, from its own pages, with its own verification, and nothing else."""

import copy
import itertools
import json
import re
from io import StringIO
from typing import Any

import pytest
from support_api import START, Api, code_of
from support_installation import API_KEY, BANK_KEY, NUMBER, TRANSACTION, World, key, tree
from support_valkey import ValkeyServer
from werkzeug.test import TestResponse

from otp_service import clock
from otp_service.api.app import all_routes
from otp_service.api.dialects import load_dialects
from otp_service.domain.keyring import base64url, from_base64url

SHOP, LOCAL, OTHER, FOREIGN = (
    *("https://shop.example", "http://localhost:3000", "https://bank.example", "https://evil.example"),
)
RIGHTS = ("read", "check", "resend")
ALL = {"allow": list(RIGHTS), "origin": SHOP}
EXPOSED = "Retry-After, X-Request-Id"
CALLS = {
    "read": ("GET", "{path}", None),
    "check": ("POST", "{path}/check", {"code": "{code}"}),
    "resend": ("POST", "{path}/resend", {}),
    "cancel": ("POST", "{path}/cancel", {}),
    "start": ("POST", START, {"to": NUMBER}),
}
"""Method, path and body of calls, by the right that they need, or a name that is no right."""
DONE = {"read": 200, "check": 200, "resend": 202}
BACK_END_ALONE = {"gateway", "reason", "choice", "raw_status"}


def api_of(world: World, *, hot_path: bool = True, **sections: Any) -> Api:
    """Return a shop with two origins, and a bank with one."""
    shop, bank = (tree(world.url)["applications"][name] for name in ("shop", "bank"))
    shop |= {"browser_origins": [SHOP, LOCAL], "proofs": True}
    return Api(
        world,
        hot_path=hot_path,
        **{
            "applications": {"shop": shop, "bank": {**bank, "browser_origins": [OTHER]}},
            "purposes": {"login": {"resend_delays": [0]}},
            "proofs": {"issuer": "https://otp.example"},
            **sections,
        },
    )


@pytest.fixture
def api(real_world: World, hot_path: bool) -> Api:
    return api_of(real_world, hot_path=hot_path)


class Page:
    """A page, or an app, that has a token."""

    def __init__(self, api: Api, origin: str | None = SHOP, allow: tuple[str, ...] = RIGHTS, **members: Any) -> None:
        self.api = api
        self.origin = origin
        asked = {"allow": list(allow), **({"origin": origin} if origin else {})}
        self.started = api.post(START, {"to": NUMBER, "client_token": asked, **members}).json
        self.token, self.id = self.started["client_token"], self.started["id"]

    def call(self, name: str, *, token: str | None = None, of: str | None = None, **headers: str) -> TestResponse:
        """Make one of the `CALLS` as a browser does; ``of``: the verification that it is about."""
        method, path, body = CALLS[name]
        sent = {"Authorization": f"Bearer {token or self.token}", **({"Origin": self.origin} if self.origin else {})}
        typed = None if body is None else {member: value.format(code=self._code) for member, value in body.items()}
        sent |= {header.replace("_", "-"): value for header, value in headers.items()}
        path = path.format(path=f"{START}/{of or self.id}")
        return self.api.client.open(path, method=method, json=typed, headers=sent)

    @property
    def _code(self) -> str:
        return self.api.code(self.id)


def is_shared(answer: TestResponse, origin: str | None) -> bool:
    """Tell whether pages of an origin, and no others, may read an answer; ``None``: no page may."""
    cors = {name: value for name, value in answer.headers if name.startswith("Access-Control-")}
    expected = {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED} if origin else {}
    return cors == expected and answer.headers.getlist("Vary") == ["Origin"]


# --- what a token allows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [SHOP, LOCAL, None])
@pytest.mark.parametrize(
    "allow", [some for size in (1, 2, 3) for some in itertools.combinations(RIGHTS, size)], ids=" ".join
)
def test_each_right_opens_its_call_and_no_other(api: Api, allow: tuple[str, ...], origin: str | None):
    page = Page(api, origin, allow)

    for name in ("cancel", "start", "resend", "read", "check"):  # the check ends it
        answer = page.call(name)
        assert is_shared(answer, origin)
        if name in allow:
            assert answer.status_code == DONE[name], answer.text
        else:
            assert code_of(answer) == (403, "forbidden")
    assert api.get(f"{START}/{page.id}").json["status"] == ("approved" if "check" in allow else "pending")
    assert api.get(f"{START}/{page.id}").json["sends_left"] in (
        {0} if "check" in allow else {1 + ("resend" not in allow)}
    )


@pytest.mark.parametrize(
    "sent", [SHOP, LOCAL, OTHER, FOREIGN, "null", f"{SHOP}/", f"{SHOP}:443", "HTTPS://shop.example"]
)
@pytest.mark.parametrize("origin", [SHOP, LOCAL, None])
@pytest.mark.parametrize("name", RIGHTS)
def test_a_token_is_of_use_for_pages_of_its_own_origin_only(api: Api, name: str, origin: str | None, sent: str):
    page = Page(api, origin)
    answer = page.call(name, Origin=sent)

    assert is_shared(answer, origin)
    if sent == origin:
        assert answer.status_code == DONE[name]
    else:
        assert code_of(answer) == (403, "forbidden")
        assert page.started == {
            **api.get(f"{START}/{page.id}").json,
            "client_token": page.started["client_token"], "destination": page.started["destination"],
        }  # fmt: skip


@pytest.mark.parametrize("origin", [SHOP, None])
@pytest.mark.parametrize("name", RIGHTS)
def test_where_no_origin_is_sent_no_browser_asks_for_another_site(api: Api, name: str, origin: str | None):
    """Browsers name it in all requests to other sites; a program that leaves it out could write what it likes."""
    page = Page(api, origin)
    page.origin = None

    assert page.call(name).status_code == DONE[name]


def test_no_other_route_takes_a_token(api: Api):
    page = Page(api)
    urls = api.app.url_map.bind("localhost")
    opened = set()
    for route in all_routes(with_metrics=True, dialects=load_dialects()):
        if route.resource.scope and route.method != "OPTIONS":
            arguments = dict.fromkeys(re.findall(r"<(\w+)>", route.rule), page.id)
            path = urls.build(route.name, arguments, method=route.method)
            headers = {"Authorization": f"Bearer {page.token}", "Origin": SHOP}
            body = {"code": "000000"} if route.body else None
            answer = api.client.open(path, method=route.method, json=body, headers=headers)
            if answer.status_code != (401 if path.startswith("/twilio/") else 403):
                opened.add(route.name)

    assert opened == {"readVerification", "checkCode", "resendCode"}


@pytest.mark.parametrize("name", RIGHTS)
def test_a_stolen_token_opens_no_other_verification(api: Api, name: str):
    page, victim = Page(api), Page(api, to="+923001234568")
    absent = f"vf_k1_{'0' * 34}"
    answers = [page.call(name, of=one) for one in (victim.id, absent, "vf_none")]

    assert {code_of(answer) for answer in answers} == {(403, "forbidden")}
    assert len({answer.data for answer in answers}) == 1, "nothing tells which there are"
    assert api.get(f"{START}/{victim.id}").json["checks_left"] == 5


def test_a_token_of_another_application_opens_its_own_verification_for_its_own_origin(api: Api):
    bank = copy.copy(api)
    bank.key = BANK_KEY
    page = Page(bank, OTHER)

    assert page.call("read").status_code == 200
    assert page.call("read", Origin=SHOP).status_code == 403
    assert page.call("read", of=api.start()).status_code == 403


# --- what it says ---------------------------------------------------------------------------------------------------


def _parts(token: str) -> list[str]:
    verification, body, _ = token.removeprefix("ct_").split(".")
    return [f"vf_{verification}", *from_base64url(body).decode().split("\n")]


def _forged(token: str, place: int, value: str) -> str:
    parts = _parts(token)
    parts[place] = value
    body = base64url("\n".join(parts[1:]).encode())
    return f"ct_{parts[0].removeprefix('vf_')}.{body}.{token.rpartition('.')[2]}"


def test_a_token_holds_verification_application_rights_origin_and_end_and_nothing_of_a_person(api: Api):
    page = Page(api, metadata={"a": "private"}, user="u-private", client_ip="203.0.113.77")
    *told, expires = _parts(page.token)
    read = api._caller.read(page.id).verification

    assert told == [page.id, "shop", "check read resend", SHOP]
    assert int(expires) == read.expires // 1000 + 600
    assert api.code(page.id) not in page.token + "".join(_parts(page.token))


@pytest.mark.parametrize(
    ("place", "value"),
    [(1, "bank"), (1, "none"), (0, "vf_k1_" + "0" * 34), (0, "vf_k2_" + "0" * 34), (0, ""), (2, "read"), (2, "cancel"),
     (2, ""), (3, FOREIGN), (3, OTHER), (3, ""), (4, "9999999999"), (4, "x"), (4, "")],
)  # fmt: skip
def test_a_token_that_was_altered_in_any_part_is_none(api: Api, place: int, value: str):
    page = Page(api)
    answer = page.call("read", token=_forged(page.token, place, value))

    assert code_of(answer) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert is_shared(answer, SHOP), "the page can read why"


def test_a_token_that_was_altered_in_any_character_is_none(api: Api):
    page = Page(api)
    for place in range(len(page.token)):
        for character in "A", "B", ".":
            altered = page.token[:place] + character + page.token[place + 1 :]
            if altered != page.token:
                assert page.call("read", token=altered).status_code == 401
        for more in "!", "=", "-":  # a decoder may skip these
            assert page.call("read", token=page.token[:place] + more + page.token[place:]).status_code == 401
    for altered in (page.token[:-1], page.token + "A", page.token + "=", page.token.rpartition(".")[0], "ct_", "ct_.",
                    page.token + "é", page.token.replace("ct_", "ct_=")):  # fmt: skip
        assert page.call("read", token=altered).status_code == 401
    assert page.call("read").status_code == 200


def test_all_tokens_that_are_none_hear_the_same(api: Api, monkeypatch: pytest.MonkeyPatch):
    page = Page(api)
    answers = [page.call("read", token=token) for token in ("ct_x", _forged(page.token, 2, "read"))]
    monkeypatch.setattr(clock, "now", lambda: 1000 * (int(_parts(page.token)[4])))
    answers.append(page.call("read"))

    assert {code_of(answer) for answer in answers} == {(401, "unauthenticated")}
    assert len({answer.data for answer in answers}) == 1


def test_a_token_of_a_page_that_nobody_lists_is_none_and_no_page_is_told(api: Api):
    assert is_shared(Page(api).call("read", token="ct_x", Origin=FOREIGN), None)


def test_it_ends_with_the_verifications_record(api: Api, monkeypatch: pytest.MonkeyPatch):
    page = Page(api)
    end = 1000 * int(_parts(page.token)[4])
    statuses = []
    for now in (end - 1, end, end + 10**9):
        monkeypatch.setattr(clock, "now", lambda now=now: now)
        statuses.append(page.call("read").status_code)

    assert statuses == [200, 401, 401]


def test_a_late_check_hears_that_the_code_is_over_and_then_nothing(
    still_world: World, hot_path: bool, monkeypatch: pytest.MonkeyPatch
):
    """Where this host's clock stands still, that of Redis counts."""
    page = Page(api_of(still_world, hot_path=hot_path))
    begun = clock.now()
    monkeypatch.setattr(clock, "now", lambda: begun)
    still_world.advance(301)
    late = page.call("check")
    still_world.advance(600)

    assert (late.json["valid"], late.json["reason"]) == (False, "expired")
    assert code_of(page.call("read")) == (404, "not-found")


def test_after_the_approval_it_reads_and_a_check_is_refused_as_any(api: Api):
    page = Page(api)

    assert page.call("check").json["valid"]
    again = page.call("check")
    assert (again.json["valid"], again.json["reason"], again.json["status"]) == (False, "already_approved", "approved")
    assert page.call("read").json["status"] == "approved"
    assert code_of(page.call("resend")) == (409, "conflict")


def test_it_outlives_a_rotation_of_the_root_key_as_its_verification_does(world: World):
    old, new, pseudonym = key(), key(), key()

    def with_roots(*roots: str) -> Api:
        return api_of(world, keys={"root": " ".join(roots), "pseudonym": pseudonym})

    page = Page(with_roots(f"k1:{old}"))
    page.api = with_roots(f"k2:{new}", f"k1:{old}")
    assert page.call("read").status_code == 200
    page.api = with_roots(f"k2:{new}")
    assert page.call("read").status_code == 401
    page.api = with_roots(f"k1:{new}")
    assert page.call("read").status_code == 401, "another key of the same name"


# --- what it is told ------------------------------------------------------------------------------------------------


def test_what_is_the_back_ends_alone_is_left_out(api: Api):
    page = Page(api, metadata={"cart": "private"}, user="u-17", purpose="payment", transaction=TRANSACTION)
    api.deliver()
    whole = api.get(f"{START}/{page.id}").json
    told = page.call("read").json

    assert whole["metadata"]
    assert whole["user"]
    assert whole["deliveries"][0]["gateway"]
    assert told["metadata"] == {}
    assert told["user"] is None
    assert {name for name, value in told["deliveries"][0].items() if value is None} == BACK_END_ALONE
    # Whoever adds a member decides whether a page sees it.
    assert {name for name, value in told.items() if value} == {
        "id", "status", "to", "country", "channel", "purpose", "locale", "created_at", "expires_at", "checks_left",
        "sends_left", "resend_after", "transaction", "deliveries",
    }  # fmt: skip
    assert {name: told[name] for name in ("status", "to", "transaction")} == {
        name: whole[name] for name in ("status", "to", "transaction")
    }


def test_neither_a_resend_nor_its_refusal_tells_of_the_applications_traffic(real_world: World, hot_path: bool):
    api = api_of(real_world, hot_path=hot_path, limits={"application": ["2/minute"]})
    page = Page(api)
    sent, refused = page.call("resend"), page.call("resend")

    assert sent.json["deliveries"][0].keys() >= BACK_END_ALONE
    assert code_of(refused) == (429, "rate-limited")
    assert refused.json["detail"] == "Too many requests."
    assert is_shared(refused, SHOP)
    for answer in (sent, refused):
        assert not {"RateLimit", "RateLimit-Policy"} & set(answer.headers.keys())
    assert "RateLimit" in api.post(f"{START}/{page.id}/resend").headers


def test_the_proof_of_an_approval_is_not_given_to_a_page(api: Api):
    page = Page(api, to="+923001234568")
    other = api.start()

    assert page.call("check", Idempotency_Key="one").json["proof"] is None
    assert page.call("check", Idempotency_Key="one").json == page.call("check", Idempotency_Key="one").json
    assert page.call("check", Idempotency_Key="one").json["proof"] is None
    assert api.post(f"{START}/{other}/check", {"code": api.code(other)}).json["proof"]


def test_a_token_adds_no_guess(api: Api):
    """Guesses of the page and of the back end are the verification's, whoever makes them."""
    page = Page(api)
    headers = {"Authorization": f"Bearer {page.token}"}
    wrong = {"code": api.wrong(page.id)}
    path = f"{START}/{page.id}/check"
    left = [api.post(path, wrong).json["checks_left"]]
    left += [api.client.post(path, json=wrong, headers=headers).json["checks_left"] for _ in range(3)]
    last = api.client.post(path, json=wrong, headers=headers).json

    assert left == [4, 3, 2, 1]
    assert (last["status"], last["reason"]) == ("max_attempts_reached", "wrong_code")
    assert page.call("check").json["reason"] == "max_attempts_reached"


def test_what_is_final_is_answered_for_ever_and_nothing_grows_by_it(api: Api):
    page = Page(api)
    assert page.call("check", Idempotency_Key="first").json["valid"]
    kept = api.keys()
    reasons = {page.call("check", Idempotency_Key=f"again-{place}").json["reason"] for place in range(20)}

    assert reasons == {"already_approved"}
    assert api.keys() == kept
    assert page.call("check", Idempotency_Key="first").json["valid"]


def test_a_page_does_not_take_its_back_ends_idempotency_keys(api: Api):
    page = Page(api)
    page.call("check", Idempotency_Key="order-17")
    started = api.post(START, {"to": NUMBER}, Idempotency_Key="order-17")

    assert started.status_code == 201
    assert started.json["id"] != page.id


def test_a_page_that_heard_no_answer_asks_again(api: Api):
    page = Page(api)
    first, second = (page.call("check", Idempotency_Key="one").json for _ in range(2))

    assert first == second
    assert first["valid"]


@pytest.mark.parametrize("name", ["check", "resend"])
def test_a_page_says_nothing_of_its_address(api: Api, name: str):
    page = Page(api)
    method, path, body = CALLS[name]
    headers = {"Authorization": f"Bearer {page.token}"}
    sent = {**body, **({"code": api.code(page.id)} if name == "check" else {}), "client_ip": "203.0.113.7"}
    answer = api.client.open(path.format(path=f"{START}/{page.id}"), method=method, json=sent, headers=headers)

    assert code_of(answer) == (400, "invalid-request")


# --- starts ---------------------------------------------------------------------------------------------------------


def test_a_token_is_shown_by_the_start_alone(api: Api):
    page = Page(api)
    answers = [
        api.get(f"{START}/{page.id}"),
        api.post(f"{START}/{page.id}/resend"),
        api.post(f"{START}/{page.id}/cancel"),
    ]

    assert page.token.startswith("ct_")
    assert all("client_token" not in answer.json for answer in answers)
    assert api.post(START, {"to": NUMBER}).json["client_token"] is None


@pytest.mark.parametrize("origin", [FOREIGN, OTHER, "null", "*", f"{SHOP}/", f"{SHOP}:443", "http://shop.example", ""])
def test_a_start_that_names_no_origin_of_the_application_is_refused(api: Api, origin: str):
    before = api.keys()
    answer = api.post(START, {"to": NUMBER, "client_token": {**ALL, "origin": origin}})

    assert code_of(answer) == (403, "forbidden")
    assert "browser_origins" in answer.json["detail"]
    assert api.keys() == before, "nothing is counted"


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [({}, "/allow"), ({"allow": []}, "/allow"), ({"allow": ["cancel"]}, "/allow/0"), ({"allow": "read"}, "/allow"),
     ({"allow": ["read"] * 4}, "/allow"), ({"allow": ["read"], "origin": 7}, "/origin"),
     ({"allow": ["read"], "life": 7}, "/life")],
)  # fmt: skip
def test_what_asks_for_no_token_is_told_where(api: Api, asked: object, pointer: str):
    answer = api.post(START, {"to": NUMBER, "client_token": asked})

    assert code_of(answer) == (400, "invalid-request")
    assert [fault["pointer"] for fault in answer.json["errors"]] == [f"/client_token{pointer}"]


def test_a_repeated_start_gives_the_same_token(api: Api):
    body = {"to": NUMBER, "client_token": ALL}
    first, second = (api.post(START, body, Idempotency_Key="one").json for _ in range(2))
    changed = api.post(START, {**body, "client_token": {**ALL, "allow": ["read"]}}, Idempotency_Key="one")

    assert first["client_token"] == second["client_token"]
    assert code_of(changed) == (422, "idempotency-mismatch")


def test_a_start_that_is_repeated_when_its_root_key_has_gone_gives_no_token(world: World):
    pseudonym, body = key(), {"to": NUMBER, "client_token": ALL}
    before, after = (api_of(world, keys={"root": f"{name}:{key()}", "pseudonym": pseudonym}) for name in ("k1", "k2"))
    one = before.post(START, body, Idempotency_Key="one").json
    world.client.delete(f"otp:{{00}}:verification:{one['id']}")
    again = after.post(START, body, Idempotency_Key="one")

    assert again.status_code == 201
    assert (again.json["id"], again.json["client_token"]) == (one["id"], None)


# --- CORS -----------------------------------------------------------------------------------------------------------


def preflight(api: Api, path: str, origin: str | None) -> TestResponse:
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    return api.client.options(path, headers=headers | ({"Origin": origin} if origin else {}))


@pytest.mark.parametrize("origin", [SHOP, LOCAL, OTHER])
@pytest.mark.parametrize(("name", "method"), [("read", "GET"), ("check", "POST"), ("resend", "POST")])
def test_a_preflight_is_answered_for_any_origin_that_an_application_lists(
    api: Api, name: str, method: str, origin: str
):
    answer = preflight(api, CALLS[name][1].format(path=f"{START}/vf_none"), origin)
    cors = {header: value for header, value in answer.headers if header.startswith("Access-Control-")}

    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Vary"] == "Origin"
    assert cors == {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": method,
        "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
        "Access-Control-Expose-Headers": EXPOSED,
        "Access-Control-Max-Age": "600",
    }


@pytest.mark.parametrize("origin", [FOREIGN, "null", "*", f"{SHOP}.evil.example", "http://shop.example", None])
@pytest.mark.parametrize("name", RIGHTS)
def test_a_preflight_from_elsewhere_is_refused(api: Api, name: str, origin: str | None):
    answer = preflight(api, CALLS[name][1].format(path=f"{START}/vf_none"), origin)

    assert code_of(answer) == (403, "forbidden")
    assert is_shared(answer, None)


@pytest.mark.parametrize("path", [START, f"{START}/vf_none/cancel", "/v1/proofs/redeem", "/v1/nothing", "/v1/consents"])
def test_a_preflight_of_any_other_call_is_refused(api: Api, path: str):
    answer = preflight(api, path, SHOP)

    assert answer.status_code == 401
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control-")]


@pytest.mark.parametrize("authorization", [f"Bearer {API_KEY}", "Bearer otp_unknown", "Basic ct_x", None])
def test_without_a_client_token_no_page_may_read_anything(api: Api, authorization: str | None):
    one = api.start()
    headers = {"Origin": SHOP} | ({"Authorization": authorization} if authorization else {})
    for method, path, body in CALLS.values():
        answer = api.client.open(path.format(path=f"{START}/{one}"), method=method, json=body, headers=headers)
        assert not [header for header, _ in answer.headers if header.startswith("Access-Control-")]


def test_errors_can_be_read_by_the_page(api: Api):
    page = Page(api)
    headers = {"Authorization": f"Bearer {page.token}", "Origin": SHOP}
    path = f"{START}/{page.id}"
    answers = [
        api.client.post(f"{path}/check", data="{", content_type="application/json", headers=headers),
        api.client.post(f"{path}/check", data="{}", content_type="text/plain", headers=headers),
        api.client.post(f"{path}/check", json={"code": "x"}, headers=headers),
        api.client.post(f"{path}/check", json={"code": "1" * 9000}, headers=headers),
        api.client.get(f"{path}?a=b", headers=headers),
        api.client.delete(path, headers=headers),
        api.client.get("/v1/nothing", headers=headers),
        api.client.post(f"{path}/resend", json={"channel": "whatsapp"}, headers=headers),
        page.call("cancel"),
        page.call("read", token="ct_x"),
    ]

    assert [answer.status_code for answer in answers] == [400, 415, 422, 413, 400, 405, 404, 422, 403, 401]
    assert [is_shared(answer, SHOP) for answer in answers] == [True] * len(answers)


def test_so_can_a_failure_of_ours(api: Api, monkeypatch: pytest.MonkeyPatch):
    page = Page(api)
    store = api.installation.context.store.verifications
    for name in ("read", "check"):
        monkeypatch.setattr(type(store), name, lambda *_: 1 / 0)
    answers = [Page.call(page, "read")]
    headers = {"Authorization": f"Bearer {page.token}", "Origin": SHOP}
    answers.append(api.client.post(f"{START}/{page.id}/check", json={"code": "123456"}, headers=headers))

    assert {code_of(answer) for answer in answers} == {(500, "internal")}
    assert all(is_shared(answer, SHOP) for answer in answers)


def test_without_redis_the_page_is_told_and_preflights_are_answered(tmp_path: Any, hot_path: bool):
    server = ValkeyServer(tmp_path)
    api = api_of(World(server.client, server.url, lambda _: None), hot_path=hot_path)
    api.installation.context.mirror_sync.refresh()
    page = Page(api)
    headers = {"Authorization": f"Bearer {page.token}", "Origin": SHOP}
    server.stop(kill=True)
    answers = [
        page.call("read"),
        api.client.post(f"{START}/{page.id}/check", json={"code": "123456"}, headers=headers),
    ]

    assert {code_of(answer) for answer in answers} == {(503, "store-unavailable")}
    assert all(is_shared(answer, SHOP) for answer in answers)
    assert preflight(api, f"{START}/{page.id}/check", SHOP).status_code == 204


# --- where tokens are not -------------------------------------------------------------------------------------------


def test_no_token_is_in_the_log_the_metrics_or_redis(api: Api, log: StringIO):
    page = Page(api)
    for name in CALLS:
        page.call(name)
    page.call("read", token=_forged(page.token, 2, "read"))
    kept = b"".join(api.world.client.dump(name) or b"" for name in api.keys())
    _, body, mac = page.token.split(".")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]

    assert [line["application"] for line in lines if line.get("status") == 403] == ["shop"] * 2
    for written in (log.getvalue(), api.get("/metrics").text, kept.decode("latin-1"), repr(api.installation)):
        assert body not in written
        assert mac not in written
