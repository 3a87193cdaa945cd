"""A fraud freeze over HTTP: in force when it is answered, of the caller's application alone, the number in the body."""

import pytest
from support_api import START, Api, code_of
from support_installation import BANK_KEY, NUMBER, World

from otp_service.domain.consents import EVERY_APPLICATION, SuppressionSource
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.ledger.consents import Suppressions
from otp_service.services.subjects import freeze, unfreeze
from otp_service.store.mirror import Mirror

MASK = "+92 ••• ••••567"
FREEZE, UNFREEZE = "/v1/subjects/freeze", "/v1/subjects/unfreeze"


@pytest.fixture
def shop(world: World) -> Api:
    made = Api(world)
    made.installation.context.mirror_sync.refresh()
    return made


@pytest.fixture
def bank(shop: Api) -> Api:
    made = Api.__new__(Api)
    made.__dict__ = {**shop.__dict__, "key": BANK_KEY}
    return made


def post(api: Api, path: str, **members: str):
    return api.post(path, {"to": NUMBER, **members})


def by_operator(api: Api, act, **members: str) -> None:
    context = api.installation.context
    to = subject_key(context.keyring, parse_destination(NUMBER, None))
    act(context, to, EVERY_APPLICATION, SuppressionSource.OPERATOR, **members)


def test_a_freeze_ends_what_is_pending_and_refuses_what_comes(shop: Api, bank: Api):
    one = shop.start()
    code = shop.code(one)
    answer = post(shop, FREEZE, reason="case A-17")
    since = answer.json["since"]

    assert answer.status_code == 200
    assert answer.json == {
        "to": MASK, "frozen": True, "everywhere": False, "since": since, "reason": "case A-17", "ended": [one],
    }  # fmt: skip
    assert since.endswith("Z")
    result = shop.post(f"{START}/{one}/check", {"code": code})
    assert (result.status_code, result.json["valid"], result.json["reason"]) == (200, False, "canceled")
    assert code_of(post(shop, START)) == (403, "recipient-frozen")
    assert code_of(shop.post(f"{START}/{one}/resend", {})) == (409, "conflict")
    assert post(bank, START).status_code == 201


def test_a_freeze_that_is_lifted_lets_starts_through(shop: Api):
    first, again = (post(shop, FREEZE).json for _ in range(2))
    assert first == again
    lifted, lifted_again = (post(shop, UNFREEZE) for _ in range(2))

    assert lifted.status_code == lifted_again.status_code == 200
    assert lifted.json == lifted_again.json
    assert lifted.json == {
        "to": MASK, "frozen": False, "everywhere": False, "since": None, "reason": None, "ended": [],
    }  # fmt: skip
    assert post(shop, START).status_code == 201


def test_what_the_operator_froze_for_all_only_he_lifts(shop: Api, bank: Api):
    by_operator(shop, freeze, reason="case B-1")
    answer = post(shop, UNFREEZE)

    assert (answer.json["frozen"], answer.json["everywhere"], answer.json["reason"]) == (True, True, "case B-1")
    assert [code_of(post(one, START)) for one in (shop, bank)] == [(403, "recipient-frozen")] * 2
    by_operator(shop, unfreeze)
    assert post(shop, START).status_code == 201


def test_one_application_lifts_nothing_of_another(shop: Api, bank: Api):
    post(shop, FREEZE)

    assert post(bank, UNFREEZE).json["frozen"] is False
    assert code_of(post(shop, START)) == (403, "recipient-frozen")


def test_neither_another_call_makes_a_freeze_nor_lifts_it(shop: Api):
    refused = shop.call("PUT", "/v1/suppressions", json={"to": NUMBER, "scope": "frozen"})
    assert (refused.status_code, refused.json["errors"][0]["pointer"]) == (400, "/scope")
    assert post(shop, "/v1/suppressions/lift", scope="frozen").status_code == 400
    post(shop, FREEZE)
    post(shop, "/v1/suppressions/lift")
    shown = post(shop, "/v1/suppressions/find").json

    assert (shown["suppressed"], shown["frozen"]) == (False, True)
    assert [one["scope"] for one in shown["entries"]] == ["frozen"]
    assert code_of(post(shop, START)) == (403, "recipient-frozen")


def test_an_export_shows_it(shop: Api):
    post(shop, FREEZE, reason="case A-17")
    (entry,) = post(shop, "/v1/subjects/export").json["suppressions"]

    assert (entry["scope"], entry["source"], entry["reason"], entry["lifted"]) == ("frozen", "api", "case A-17", False)


@pytest.mark.parametrize(("path", "unknown"), [(FREEZE, "until"), (UNFREEZE, "reason")])
def test_a_body_is_read_strictly(shop: Api, path: str, unknown: str):
    assert post(shop, path, **{unknown: "2999-01-01T00:00:00Z"}).status_code == 400
    assert shop.post(path, {"to": "123"}).json["code"] == "invalid-number"
    assert shop.post(path, {}).status_code == 400
    assert shop.post(f"{path}?to=1", {"to": NUMBER}).status_code == 400
    assert shop.get(path).status_code == 405


@pytest.mark.parametrize("path", [FREEZE, UNFREEZE])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b" " * 9000, 413),
        (b'{"to": "' + b"9" * 8000 + b'"}', 422),
        (b"", 400),
        (b"[]", 400),
        (b"null", 400),
        (b"{", 400),
        (b'{"to": "+923001234567", "to": "+923007654321"}', 400),
        (b'{"to": 923001234567}', 400),
        (b'{"to": ["+923001234567"]}', 400),
        (b'{"to": "+923001234567", "region": "XX"}', 400),
        (b'{"to": "+923001234567", "application": "bank"}', 400),
        (b'{"to": "03001234567", "region": "PK", "until": null}', 400),
        ('{"to": "+92300\u00001234567"}'.encode(), 400),
        (b'{"to": "+92300\xff1234567"}', 400),
    ],
)
def test_whatever_else_is_sent_is_refused_as_anywhere_and_freezes_nothing(
    shop: Api, path: str, body: bytes, status: int
):
    answer = shop.raw(path, body)

    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert NUMBER[-7:] not in answer.text
    assert post(shop, START).status_code == 201


def test_no_number_may_be_in_a_reason_nor_is_one_in_an_answer(shop: Api):
    assert post(shop, FREEZE, reason="called from 03001234567").status_code == 400
    texts = [post(shop, path).text for path in (FREEZE, UNFREEZE)]

    assert all(NUMBER[-7:] not in text and MASK in text for text in texts)


@pytest.mark.parametrize("path", [FREEZE, UNFREEZE])
@pytest.mark.parametrize(
    ("of", "method", "error", "code"),
    [
        (Suppressions, "add", LedgerUnavailableError, "ledger-unavailable"),
        (Mirror, "write", StoreUnavailableError, "store-unavailable"),
    ],
)
def test_what_cannot_be_told_to_both_is_answered_with_503(
    shop: Api, monkeypatch: pytest.MonkeyPatch, path: str, of: type, method: str, error: type[Exception], code: str
):
    def away(*_: object) -> None:
        raise error("away")

    if path == UNFREEZE:
        post(shop, FREEZE)
    with monkeypatch.context() as patch:
        patch.setattr(of, method, away)
        assert code_of(post(shop, path)) == (503, code)
    assert post(shop, path).json["frozen"] is (path == FREEZE)
