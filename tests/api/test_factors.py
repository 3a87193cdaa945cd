"""Authenticator apps over HTTP."""

import base64
import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyotp
import pytest
import zxingcpp
from support_api import Api, code_of
from support_factors import FACTORS, USER, App, record
from support_installation import BANK_KEY, World
from support_missing import missing
from support_sources import ROOT
from support_webhooks import LOOPBACK

from otp_service.domain.webhooks import WebhookSlots

RECOVERY = "/v1/recovery-codes"
PACKAGES = ROOT / "tests" / "npm"


@pytest.fixture
def api(still_world: World, hot_path: bool) -> Api:
    return Api(still_world, hot_path=hot_path)


@pytest.fixture
def app(api: Api) -> App:
    """An app that is active; the code before the present one is spent."""
    app = App(api)
    assert app.activate()["valid"]
    return app


def error(app: App, call: str, **body: object) -> tuple[int, str]:
    return code_of(app.api.post(f"{FACTORS}/{app.id}/{call}", body))


# --- enrolment ----------------------------------------------------------------------------------------------


def test_an_enrolment_shows_secret_uri_and_nothing_else_twice(api: Api):
    app = App(api)

    about = {"type": "totp", "label": "ali@example.com", "algorithm": "SHA1", "digits": 6, "period": 30}
    times = {"created_at": None, "used_at": None, "removed_at": None}
    assert app.enrolled["factor"] == {"id": app.id, "status": "pending", **about, **times}
    assert pyotp.parse_uri(app.enrolled["uri"]).secret == app.enrolled["secret"]
    assert pyotp.parse_uri(app.enrolled["uri"]).issuer == "Acme Shop"
    assert app.read() == app.enrolled["factor"]

    app.activate()
    assert app.read()["status"] == "active"
    assert app.enrolled["secret"] not in api.get(f"{FACTORS}/{app.id}").text


@pytest.mark.parametrize("label", ["ali@example.com", "علی خان", "x" * 64])
def test_a_qr_code_is_read_back_by_another_library(api: Api, label: str):
    app = App(api, label=label, qr="png")

    (read,) = zxingcpp.read_barcodes(pixels(app.enrolled["qr"]))
    assert read.text == app.enrolled["uri"]
    assert 'fill="#fff"' in App(api, qr="svg").enrolled["qr"]  # dark modules on a dark page are not read
    assert App(api, qr="svg").enrolled["qr"].startswith("<svg ")


@pytest.mark.parametrize("label", ["ali@example.com", "علی خان"])
def test_programs_in_node_read_the_same(api: Api, label: str):
    if shutil.which("node") is None or not (PACKAGES / "node_modules" / "otpauth").exists():
        missing("Node, and npm's otpauth and jsqr (npm ci --prefix tests/npm)")
    app = App(api, label=label, qr="png")
    shown = pixels(app.enrolled["qr"])
    seen = {"at": 1_700_000_000_000, "rows": [list(row) for row in shown.tolist()]}

    read = subprocess.run(
        ["node", "--input-type=module", "--eval", READ_IN_NODE],
        cwd=PACKAGES, input=json.dumps(seen), capture_output=True, text=True, check=True,
    )  # fmt: skip
    code = pyotp.parse_uri(app.enrolled["uri"]).at(1_700_000_000)
    assert json.loads(read.stdout) == {
        "uri": app.enrolled["uri"], "code": code, "issuer": "Acme Shop", "label": label
    }  # fmt: skip


READ_IN_NODE = """
import { readFileSync } from "node:fs";
import jsQR from "jsqr";
import * as OTPAuth from "otpauth";

const { at, rows } = JSON.parse(readFileSync(0));
const rgba = Uint8ClampedArray.from(rows.flat().flatMap((grey) => [grey, grey, grey, 255]));
const uri = jsQR.default(rgba, rows[0].length, rows.length).data;
const totp = OTPAuth.URI.parse(uri);
console.log(JSON.stringify({ uri, code: totp.generate({ timestamp: at }), issuer: totp.issuer, label: totp.label }));
"""


def pixels(uri: str) -> memoryview:
    """Return what a PNG of black and white shows."""
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    chunks, place = {}, 8
    while place < len(data):
        (size,) = struct.unpack(">I", data[place : place + 4])
        chunks[data[place + 4 : place + 8]] = data[place + 8 : place + 8 + size]
        place += size + 12
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour) == (1, 0)
    packed, row = zlib.decompress(chunks[b"IDAT"]), 1 + (width + 7) // 8
    lines, above = [], bytes(row - 1)
    for start in range(0, len(packed), row):
        kind, line = packed[start], packed[start + 1 : start + row]
        assert kind in {0, 2}  # filters: none, and the difference to the line above
        above = bytes((one + kind // 2 * before) % 256 for one, before in zip(line, above, strict=True))
        lines.append(above)
    grey = bytes(255 * (line[x // 8] >> (7 - x % 8) & 1) for line in lines for x in range(width))
    return memoryview(grey).cast("B", (height, width))


def test_who_does_not_type_a_code_within_ten_minutes_enrols_anew(api: Api):
    app = App(api)
    api.world.advance(601)

    assert error(app, "activate", code=app.code()) == (404, "not-found")


def test_a_repeated_enrolment_is_the_same_one_and_tells_its_secret_until_the_first_code(api: Api):
    body = {"user": USER, "label": "phone", "qr": "svg"}
    app = App(api, label="phone", qr="svg", Idempotency_Key="once")

    assert api.post(FACTORS, body, Idempotency_Key="once").json == app.enrolled
    assert code_of(api.post(FACTORS, {**body, "label": "other"}, Idempotency_Key="once")) == (
        422,
        "idempotency-mismatch",
    )
    app.activate()
    api.world.advance(3600)
    again = api.post(FACTORS, body, Idempotency_Key="once").json
    assert (again["factor"]["id"], again["factor"]["status"]) == (app.id, "active")
    assert (again["secret"], again["uri"], again["qr"]) == (None, None, None)


def test_a_user_has_five_apps_at_most(api: Api):
    apps = [App(api, label=f"phone {place}") for place in range(6)]
    assert all(app.activate()["valid"] for app in apps[:5])

    assert error(apps[5], "activate", code=apps[5].code()) == (409, "factor-limit")
    assert code_of(api.post(FACTORS, {"user": USER, "label": "x"})) == (409, "factor-limit")
    assert App(api, user="another").activate()["valid"]
    apps[0].remove(reason="lost")
    assert App(api).activate()["valid"]


def enrol(api: Api, user: str = USER, **headers: str) -> Any:
    return api.post(FACTORS, {"user": user, "label": "phone"}, **headers)


def test_of_a_user_ten_apps_wait_for_their_first_code_at_most(api: Api):
    first = enrol(api, Idempotency_Key="first").json
    api.world.advance(60)
    apps = [App(api) for _ in range(9)]
    refused = enrol(api)

    assert (code_of(refused), refused.json["retry_after"]) == ((429, "rate-limited"), 540)
    assert enrol(api, Idempotency_Key="first").json == first
    assert enrol(api, "another").status_code == 201
    assert apps[0].activate()["valid"]
    assert enrol(api).status_code == 201
    assert enrol(api).status_code == 429
    apps[1].remove(reason="other")
    assert enrol(api).status_code == 201
    api.world.advance(541)
    assert enrol(api).status_code == 201
    assert enrol(api).status_code == 429


def test_of_an_application_as_many_apps_wait_as_is_said(still_world: World):
    api = Api(still_world, limits={"pending_factors": 3})
    assert [enrol(api, f"user-{place}").status_code for place in range(5)] == [201, 201, 201, 429, 429]
    bank = Api.__new__(Api)
    bank.__dict__ = {**api.__dict__, "key": BANK_KEY}

    assert enrol(bank).status_code == 201
    still_world.advance(601)
    assert enrol(api).status_code == 201


def test_of_enrolments_at_once_no_more_wait_than_may(api: Api):
    def patiently(_: int) -> int:
        while (answer := enrol(api)).status_code == 503:
            pass
        return int(answer.status_code)

    with ThreadPoolExecutor(20) as pool:
        told = list(pool.map(patiently, range(20)))

    assert sorted(told) == [201] * 10 + [429] * 10


def test_a_clock_that_ran_ahead_keeps_nobody_from_enrolling(api: Api):
    for waiting in (f"otp:{{00}}:pending_of:{pseudonym(api)}", "otp:{00}:pending_at:shop"):
        now = 1000 * int(api.world.client.time()[0])
        api.world.client.zadd(waiting, {f"of-{place}": now + 86_400_000 for place in range(10_000)})
        api.world.client.expire(waiting, 600)

    assert enrol(api).status_code == 201


def pseudonym(api: Api) -> str:
    return api.installation.context.keyring.user_pseudonym("shop", USER)


def test_an_erased_user_activates_nothing_that_waits(api: Api):
    app, other = App(api), App(api, user="another")
    assert api.post("/v1/users/erase", {"user": USER}).status_code == 200

    assert error(app, "activate", code=app.code()) == (404, "not-found")
    assert other.activate()["valid"]
    assert [key for key in api.world.client.scan_iter("*pending*") if b"pending_at" not in key] == []


def test_an_app_that_waits_is_erased_though_its_code_comes_at_the_same_time(api: Api, monkeypatch: pytest.MonkeyPatch):
    """Between what an erasure does in the ledger and what it does in Redis."""
    app, subjects, told = App(api), type(api.installation.context.ledger.subjects), []
    erase = subjects.erase

    def erase_and_activate(*parts: Any) -> Any:
        done = erase(*parts)
        told.append(error(app, "activate", code=app.code()))
        return done

    monkeypatch.setattr(subjects, "erase", erase_and_activate)
    assert api.post("/v1/users/erase", {"user": USER}).status_code == 200

    assert told == [(404, "not-found")]
    assert held(api) == (0, 0)


def test_whoever_is_erased_while_an_app_is_activated_gets_no_recovery_codes(api: Api, monkeypatch: pytest.MonkeyPatch):
    app, codes = App(api), type(api.installation.context.ledger.recovery_codes)
    replace = codes.replace

    def erase_and_replace(*parts: Any, **further: Any) -> bool:
        assert api.post("/v1/users/erase", {"user": USER}).status_code == 200
        return bool(replace(*parts, **further))

    monkeypatch.setattr(codes, "replace", erase_and_replace)

    assert app.activate()["recovery_codes"] is None
    assert held(api) == (0, 0)


def held(api: Api) -> tuple[int, int]:
    found = api.post("/v1/user-factors", {"user": USER}).json
    return len(found["factors"]), found["recovery_codes_left"]


@pytest.mark.parametrize("first", ["users/freeze", None])
def test_no_app_that_was_enrolled_before_a_freeze_or_during_it_is_activated_after_its_lift(api: Api, first: str | None):
    if first:
        assert api.post(f"/v1/{first}", {"user": USER}).status_code == 200
    app, other = App(api), App(api, user="another")
    assert api.post("/v1/users/freeze", {"user": USER}).status_code == 200
    assert error(app, "activate", code=app.code()) == (403, "recipient-frozen")
    assert api.post("/v1/users/unfreeze", {"user": USER}).status_code == 200

    assert error(app, "activate", code=app.code()) == (404, "not-found")
    assert other.activate()["valid"]
    assert App(api).activate()["valid"]


@pytest.mark.parametrize("digits", [6, 7, 8])
@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256", "SHA512"])
def test_a_secret_from_elsewhere_is_taken_over(api: Api, algorithm: str, digits: int):
    uri = f"otpauth://totp/x?secret={pyotp.random_base32()}&algorithm={algorithm}&digits={digits}&period=60"
    app = App(api, uri=uri)

    assert app.activate()["valid"]
    assert app.check(app.code())["valid"]


def test_a_secret_that_is_too_short_is_refused_in_words(api: Api):
    answer = api.post(FACTORS, {"user": USER, "label": "x", "uri": "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP"})

    assert code_of(answer) == (422, "invalid-secret")
    assert "112 bits" in answer.json["detail"]
    assert "JBSWY" not in answer.text


@pytest.mark.parametrize("label", ["", "a:b", "x" * 65, "a\nb", "a\u202eb"])
def test_a_label_that_apps_read_otherwise_is_refused(api: Api, label: str):
    assert code_of(api.post(FACTORS, {"user": USER, "label": label})) == (400, "invalid-request")


# --- codes --------------------------------------------------------------------------------------------------


def test_a_code_is_accepted_once(app: App):
    code = app.code()

    assert app.check(code) == {"id": app.id, "status": "active", "valid": True, "reason": None, "proof": None}
    assert app.check(code) == {"id": app.id, "status": "active", "valid": False, "reason": "code_used", "proof": None}


def test_the_code_that_activates_is_spent(api: Api):
    app = App(api)
    code = app.code()
    assert app.activate(code)["valid"]

    assert app.check(code)["reason"] == "code_used"
    assert error(app, "activate", code=app.code(1)) == (409, "factor-not-active")


def test_an_older_code_is_not_accepted_after_a_newer_one(app: App):
    assert app.check(app.code(1))["valid"]

    assert app.check(app.code())["reason"] == "code_used"
    app.api.world.advance(30)
    assert app.check(app.code())["reason"] == "code_used"
    app.api.world.advance(30)
    assert app.check(app.code())["valid"]


@pytest.mark.parametrize(
    ("skew", "right"), [([1, 1], {-1, 0, 1}), ([1, 0], {-1, 0}), ([0, 0], {0}), ([2, 0], {-2, -1, 0})]
)
def test_a_code_is_right_for_as_many_steps_as_the_application_says(
    still_world: World, skew: list[int], right: set[int]
):
    shop = {"purposes": ["login"], "countries": ["PK"], "client_ip": "none", "totp_skew": skew}
    shop["keys"] = Api(still_world).installation.settings.applications["shop"].keys
    api = Api(still_world, applications={"shop": shop})
    app = App(api)
    app.activate(app.code())
    api.world.advance(600)

    steps = range(-3, 4)
    accepted = {step for step in steps if app.check(app.code(step))["valid"]}
    assert accepted == right


def test_a_code_of_another_length_is_no_guess(app: App):
    assert error(app, "check", code="1234567") == (422, "invalid-code")
    assert error(app, "check", code="12345a") == (422, "invalid-code")


def test_a_repeated_check_is_answered_as_the_first(app: App):
    code = app.code()

    assert app.check(code, Idempotency_Key="one")["valid"]
    assert app.check(code, Idempotency_Key="one")["valid"]
    assert [app.check(code, Idempotency_Key="two")["reason"] for _ in range(2)] == ["code_used"] * 2
    wrong = app.wrong()
    assert {app.check(wrong, Idempotency_Key="three")["reason"] for _ in range(20)} == {"wrong_code"}
    app.api.world.advance(3600)
    assert app.check(code, Idempotency_Key="one")["valid"]
    answer = app.api.post(f"{FACTORS}/{app.id}/check", {"code": app.wrong()}, Idempotency_Key="one")
    assert code_of(answer) == (422, "idempotency-mismatch")


def test_who_can_write_to_redis_has_no_wrong_code_of_an_app_answered_as_right(app: App):
    """Not even by repeating a check. One that was right is still answered as it was, when its code is over."""
    wrong, right = app.wrong(), app.code()
    assert app.check(wrong, Idempotency_Key="one")["reason"] == "wrong_code"
    (remembered,) = app.api.world.client.keys("*:idempotency:*")
    app.api.world.client.hset(remembered, "reason", "")

    assert app.check(wrong, Idempotency_Key="one")["reason"] == "wrong_code"
    assert app.check(right, Idempotency_Key="two")["valid"]
    app.api.world.advance(600)
    assert app.check(right, Idempotency_Key="two")["valid"]


def test_nobody_else_sees_or_uses_an_app(app: App):
    bank = Api(app.api.world, BANK_KEY)
    bank.installation = app.api.installation
    bank.app, bank.client = app.api.app, app.api.client
    other = App(bank)
    other.activate()
    bodies = {"check": {"code": app.code()}, "remove": {"reason": "lost"}, "rename": {"label": "x"}}
    bodies |= {"activate": {"code": app.code()}}

    pending = App(app.api)
    for call, body in {"activate": {"code": pending.code()}, "remove": {"reason": "lost"}}.items():
        assert code_of(bank.post(f"{FACTORS}/{pending.id}/{call}", body)) == (404, "not-found")
    assert code_of(bank.get(f"{FACTORS}/{pending.id}")) == (404, "not-found")
    assert pending.read()["status"] == "pending"

    for call, body in bodies.items():
        assert code_of(bank.post(f"{FACTORS}/{app.id}/{call}", body)) == (404, "not-found")
    assert code_of(bank.get(f"{FACTORS}/{app.id}")) == (404, "not-found")
    assert [one["id"] for one in bank.post("/v1/user-factors", {"user": USER}).json["factors"]] == [other.id]
    assert app.check(app.code())["valid"]


@pytest.mark.parametrize("factor_id", ["fa_" + "0" * 56, "fa_1", "vf_k1_00" + "0" * 32, "x"])
def test_what_is_no_factor_is_not_found(api: Api, factor_id: str):
    assert code_of(api.post(f"{FACTORS}/{factor_id}/check", {"code": "123456"})) == (404, "not-found")


# --- budgets ------------------------------------------------------------------------------------------------


def test_all_apps_and_recovery_codes_of_a_user_share_one_budget(api: Api):
    one, two = App(api), App(api, label="tablet")
    codes = one.activate()["recovery_codes"]
    two.activate()

    for _ in range(3):
        assert one.check(one.wrong())["reason"] == "wrong_code"
        assert two.check(two.wrong())["reason"] == "wrong_code"
        assert recover(api, "0" * 24)["reason"] == "wrong_code"
    three = App(api)
    assert three.activate(three.wrong())["reason"] == "wrong_code"

    locked = {"valid": False, "reason": "factor_locked"}
    for app in (one, two):
        assert app.check(app.code()).items() >= locked.items()
    assert three.activate(three.code()).items() >= locked.items()
    assert recover(api, codes[0]) == {**locked, "left": 10, "replacement": None, "proof": None}


def test_wrong_codes_of_an_app_do_not_hold_a_number_back_nor_another_user(app: App):
    while app.check(app.wrong())["reason"] == "wrong_code":
        pass
    one = app.api.start(to="+923001234567")

    assert app.api.post(f"/v1/verifications/{one}/check", {"code": app.api.code(one)}).json["valid"]
    other = App(app.api, user="other")
    other.activate()
    assert other.check(other.code())["valid"]


def test_a_right_code_that_was_used_is_no_guess(app: App):
    """An honest person who submits a form again and again is never locked."""
    code = app.code()
    assert app.check(code)["valid"]

    assert {app.check(code)["reason"] for _ in range(200)} == {"code_used"}
    app.api.world.advance(30)
    assert app.check(app.code())["valid"]


def test_a_hundred_wrong_codes_in_a_row_lock_until_an_operator_unlocks(still_world: World):
    modes = {
        "guard": {"number": {"lock_after": 10, "guess_waits": [0]}, "modes": {}},
        "limits": {"failed_checks": ["1000/day"]},
    }
    api = Api(still_world, **modes)
    app = App(api)
    app.activate()
    for _ in range(10):
        assert app.check(app.wrong())["reason"] == "wrong_code"
    api.world.advance(29 * 24 * 3600)
    assert app.check(app.code())["reason"] == "factor_locked"

    assert app.unlock() > 0
    assert app.check(app.code())["valid"]


def test_a_rule_that_only_records_refuses_no_code(still_world: World):
    guard = {"number": {"lock_after": 10, "guess_waits": [0]}, "modes": {"number.lock": "record_only"}}
    app = App(Api(still_world, guard=guard, limits={"failed_checks": ["1000/day"]}))
    app.activate()
    for _ in range(10):
        app.check(app.wrong())

    assert app.check(app.code())["valid"]


@pytest.mark.parametrize("waits", [{}, {"guess_waits": [0]}], ids=["waits", "limits"])
def test_what_a_stranger_guesses_does_not_keep_a_known_device_out(still_world: World, waits: dict[str, Any]):
    api = Api(still_world, guard={"modes": {}, "number": waits}, limits={"failed_checks": ["10/day"]})
    app = App(api)
    app.activate()
    assert app.check(app.code(), context="phone")["valid"]
    while app.check(app.wrong())["reason"] == "wrong_code":
        pass

    assert app.check(app.code(1))["reason"] == "factor_locked"
    assert app.check(app.code(1), context="phone")["valid"]


def test_a_recovery_code_makes_its_device_known(still_world: World):
    api = Api(still_world, guard={"modes": {}})
    app = App(api)
    code = app.activate()["recovery_codes"][0]
    assert api.post(f"{RECOVERY}/check", {"user": USER, "code": code, "context": "phone"}).json["valid"]
    while app.check(app.wrong())["reason"] == "wrong_code":
        pass

    assert app.check(app.code(), context="phone")["valid"]


def test_a_recovery_code_that_was_spent_is_right_whatever_was_guessed_meanwhile(
    app: App, monkeypatch: pytest.MonkeyPatch
):
    code = app.api.post(RECOVERY, {"user": USER}).json["recovery_codes"][0]
    kind = type(app.api.installation.context.ledger.recovery_codes)
    spend = kind.spend

    def slow(*about: Any) -> Any:
        while app.check(app.wrong())["reason"] == "wrong_code":
            pass
        return spend(*about)

    monkeypatch.setattr(kind, "spend", slow)
    assert recover(app.api, code)["valid"]
    assert record(app.api)[-1].type == "recovery.used"


# --- finding, renaming, removing ----------------------------------------------------------------------------


def test_apps_are_found_by_user_and_renamed(app: App):
    other = App(app.api, label="tablet")
    other.activate()
    app.api.post(f"{FACTORS}/{app.id}/rename", {"label": "work phone"})

    found = app.api.post("/v1/user-factors", {"user": USER}).json
    assert [(one["id"], one["label"]) for one in found["factors"]] == [(app.id, "work phone"), (other.id, "tablet")]
    assert found["recovery_codes_left"] == 10
    assert found["user_id"].removeprefix("us_") == app.id.removeprefix("fa_")[:32]
    nobody = app.api.post("/v1/user-factors", {"user": "nobody"}).json
    assert (nobody["factors"], nobody["recovery_codes_left"]) == ([], 0)


@pytest.mark.parametrize("body", [{}, {"code": "123456", "reason": "lost"}, {"reason": "because"}])
def test_a_removal_needs_a_code_or_a_reason(app: App, body: dict):
    assert error(app, "remove", **body) == (400, "invalid-request")


def test_an_app_is_removed_with_a_code_which_is_spent(app: App):
    assert app.remove(code=app.wrong())["valid"] is False
    assert app.read()["status"] == "active"

    assert app.remove(code=app.code()) == {
        "id": app.id,
        "status": "removed",
        "valid": True,
        "reason": None,
        "proof": None,
    }
    gone = app.read()
    assert (gone["status"], gone["label"]) == ("removed", None)
    assert gone["removed_at"]
    assert error(app, "check", code=app.code(1)) == (409, "factor-not-active")
    assert error(app, "rename", label="x") == (409, "factor-not-active")


def test_an_app_that_is_lost_is_removed_for_a_reason_once(app: App):
    assert app.remove(reason="lost")["status"] == "removed"
    assert app.remove(reason="stolen")["status"] == "removed"

    assert [(one["change"], one["reason"]) for one in app.changes()] == [("activated", ""), ("removed", "lost")]
    assert app.secrets_in_ledger() == [("", "", "")]


def test_an_enrolment_has_to_be_activated_before_it_is_renamed(api: Api):
    app = App(api)

    answer = api.post(f"{FACTORS}/{app.id}/rename", {"label": "work phone"})
    assert (answer.status_code, answer.json["code"]) == (409, "factor-not-active")
    app.activate()
    assert api.post(f"{FACTORS}/{app.id}/rename", {"label": "work phone"}).json["label"] == "work phone"


def test_an_enrolment_can_be_removed_before_its_first_code(api: Api):
    app = App(api)

    assert app.remove(reason="other")["status"] == "removed"
    assert error(app, "activate", code=app.code()) == (404, "not-found")


# --- recovery codes -----------------------------------------------------------------------------------------


def recover(api: Api, code: str, user: str = USER) -> dict:
    answer = api.post(f"{RECOVERY}/check", {"user": user, "code": code})
    assert answer.status_code == 200, answer.text
    return answer.json


def test_the_first_app_comes_with_ten_recovery_codes_and_no_other_one(api: Api):
    codes = App(api).activate()["recovery_codes"]

    assert len(set(codes)) == 10
    assert App(api).activate()["recovery_codes"] is None


def test_a_recovery_code_is_good_for_one_use_and_is_replaced(api: Api):
    first, *others = App(api).activate()["recovery_codes"]

    used = recover(api, first.lower().replace("-", " "))
    assert (used["valid"], used["reason"], used["left"]) == (True, None, 10)
    assert recover(api, first) == {
        "valid": False,
        "reason": "code_used",
        "left": 10,
        "replacement": None,
        "proof": None,
    }
    assert recover(api, used["replacement"])["valid"]
    assert recover(api, others[0], user="another")["valid"] is False


def test_a_new_series_ends_the_one_before(api: Api):
    old = App(api).activate()["recovery_codes"]
    answer = api.post(RECOVERY, {"user": USER})

    assert answer.status_code == 201
    new = answer.json["recovery_codes"]
    assert not set(old) & set(new)
    assert recover(api, old[0])["reason"] == "code_used"
    assert recover(api, new[0])["valid"]


def test_nobody_is_locked_by_codes_that_were_used_or_replaced(api: Api):
    app = App(api)
    old = app.activate()["recovery_codes"]
    new = api.post(RECOVERY, {"user": USER}).json["recovery_codes"]
    assert recover(api, new[0])["valid"]

    for code in (*old, *[new[0]] * 200):
        assert recover(api, code)["reason"] == "code_used"
    assert app.check(app.code(1))["valid"]
    assert recover(api, new[1])["valid"]


def test_what_is_no_recovery_code_is_no_guess(api: Api):
    assert code_of(api.post(f"{RECOVERY}/check", {"user": USER, "code": "123456"})) == (422, "invalid-code")


# --- events, people -----------------------------------------------------------------------------------------


def test_what_happens_is_told_by_events_without_code_or_secret(app: App):
    code = app.code()
    app.check(code)
    app.check(code)
    app.check(app.wrong())
    made = app.api.post(RECOVERY, {"user": USER}).json["recovery_codes"]
    recover(app.api, made[0])
    recover(app.api, made[0])
    recover(app.api, "0" * 24)
    app.remove(reason="lost")

    told = record(app.api)
    assert [(one.type, one.member("reason")) for one in told] == [
        ("recovery.replaced", ""),
        ("factor.approved", ""),
        ("factor.code_used", "code_used"),
        ("factor.failed", "wrong_code"),
        ("recovery.replaced", ""),
        ("recovery.used", ""),
        ("recovery.code_used", "code_used"),
        ("recovery.failed", "wrong_code"),
    ]
    assert code not in repr([one.fields for one in told])


def test_what_is_refused_is_told_with_its_rule(app: App):
    while app.check(app.wrong())["reason"] == "wrong_code":
        pass
    recover(app.api, "0" * 24)

    rules = [one.member("rule") for one in record(app.api) if one.type == "factor.refused"]
    assert len(rules) == 2
    assert all(rules)


@pytest.fixture
def frozen_user(app: App) -> Iterator[App]:
    assert app.api.post("/v1/users/freeze", {"user": USER, "reason": "stolen"}).json["frozen"]
    yield app
    assert app.api.post("/v1/users/unfreeze", {"user": USER}).json == {"frozen": False, "since": None, "ended": []}
    assert app.check(app.code())["valid"]


def test_nothing_of_a_frozen_user_is_accepted(frozen_user: App):
    assert error(frozen_user, "check", code=frozen_user.code()) == (403, "recipient-frozen")
    body = {"user": USER, "code": "0" * 24}
    assert code_of(frozen_user.api.post(f"{RECOVERY}/check", body)) == (403, "recipient-frozen")
    other = App(frozen_user.api, user="other")
    other.activate()
    assert other.check(other.code())["valid"]


def test_a_user_is_told_what_is_held_and_erased(app: App):
    api = app.api
    held = api.post("/v1/users/export", {"user": USER}).json
    assert [one["id"] for one in held["factors"]] == [app.id]
    assert len(held["recovery_codes"]) == 10

    done = api.post("/v1/users/erase", {"user": USER}).json
    nothing = dict.fromkeys(("consents", "suppressions", "inbound", "looks", "second_person_requests"), 0)
    assert done["erased"] == {**nothing, "factors": 1, "recovery_codes": 10}
    assert error(app, "check", code=app.code()) == (409, "factor-not-active")
    held = api.post("/v1/users/export", {"user": USER}).json
    assert [(one["status"], one["label"]) for one in held["factors"]] == [("removed", None)]
    assert held["recovery_codes"] == []
    assert len(held["erasures"]) == 1
    assert app.secrets_in_ledger() == [("", "", "")]


# --- webhooks -----------------------------------------------------------------------------------------------


def test_webhooks_tell_what_happens_to_apps_and_recovery_codes(still_world: World):
    guard = {"guard": {"number": {"lock_after": 10, "guess_waits": [0]}, "modes": {}}}
    api = Api(still_world, webhooks={"networks": LOOPBACK}, limits={"failed_checks": ["1000/day"]}, **guard)
    api.post("/v1/endpoints", {"url": "http://127.0.0.1:9/hooks", "types": ["factor"]})
    app = App(api)
    codes = app.activate()["recovery_codes"]
    recover(api, codes[0])
    for _ in range(10):
        app.check(app.wrong())
    app.unlock()
    for _ in range(10):
        recover(api, "0" * 24)
    app.remove(reason="lost")
    app.remove(reason="lost")
    record(api)
    record(api)

    told = [(one["type"], one["data"]) for one in webhooks(api)]
    user = {"application": "shop", "user": api.post("/v1/user-factors", {"user": USER}).json["user_id"]}
    assert [kind for kind, _ in told] == [
        "factor.activated",
        "factor.recovery_codes_replaced",
        "factor.recovery_code_used",
        "factor.removed",
        "factor.locked",
        "factor.locked",
    ]
    assert all(about.items() >= user.items() for _, about in told)
    assert [about.get("factor") for _, about in told] == [app.id, None, None, app.id, app.id, None]
    assert told[3][1]["reason"] == "lost"


def webhooks(api: Api) -> list[dict[str, Any]]:
    """Return what waits to be sent, in the order in which it was written."""
    claimed = api.installation.context.ledger.webhook_outbox.claim(WebhookSlots(200), 1000, 100)
    sent = sorted(claimed, key=lambda one: one.sequence)
    return [json.loads(one.webhook.body(one.sequence)) for one in sent]
