"""Hosted pages: who gets one, what a person can do there, and what the application learns of it."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support_api import START, Api, code_of
from support_installation import BANK_KEY, NUMBER, World, tree
from support_pages import (
    OWN,
    PAYMENT,
    PUBLIC,
    REDEEM,
    RETURN,
    Person,
    api_with_pages,
    attempt_of,
    result_of,
    text_of,
)

from otp_service.domain.hosted_pages import PAGE, PageResult
from otp_service.domain.keyring import Keyring
from otp_service.errors import StoreUnavailableError
from otp_service.services.pages import open_page


@pytest.fixture
def api(still_world: World) -> Api:
    return api_with_pages(still_world)


def redeem(api: Api, result: str) -> Any:
    return api.post(REDEEM, {"result": result})


# --- who gets a page ----------------------------------------------------------------------------------------


def test_a_start_that_asks_for_none_gets_none(api: Api):
    answer = api.post(START, {"to": NUMBER})
    stranger = api.installation.context.keyring.signed(PAGE, answer.json["id"])

    assert answer.json["page"] is None
    assert api.client.get(f"/p/{stranger}").status_code == 404


def test_a_page_has_one_address_that_holds_no_number(api: Api):
    person = Person(api)

    assert person.url.startswith(f"{PUBLIC}/p/")
    assert api.get(f"{START}/{person.id}").json["page"] == {"url": person.url}
    assert NUMBER[3:] not in person.url
    assert not re.search(r"(?<![0-9a-f])[0-9]{7,}(?![0-9a-f])", person.url)


def test_a_start_that_is_asked_for_again_has_the_same_page(api: Api):
    body = {"to": NUMBER, "page": {"return_url": RETURN}}
    first, second = (api.post(START, body, Idempotency_Key="s-1").json["page"] for _ in range(2))

    assert first == second


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/back/", "https://shop.example/backdoor", "https://shop.example/", "https://shop.example",
        "https://evil.example/back", "https://shop.example.evil.example/back", "http://shop.example/back",
        "https://shop.example@evil.example/back", "https://shop.example:444/back", "HTTPS://shop.example/back",
        "https://shop.example/back#x", "https://shop.example/back?a#x", "https://shop.example/back?a\\b",
        "https://shop.example/back?a b", "https://shop.example/back?a\r\nX: y", "https://shop.example/back?result=x",
        "https://shop.example/back?a=1&result", "https://shop.example/./back", "https://shop.example/%62ack",
        "//shop.example/back", "/back", "javascript:alert(1)", "", "https://shop.example/back?" + "a" * 500,
        "https://shop.example/back?%72esult=x", "https://shop.example/back?a=1&r%65sult=x",
        "https://shop.example/back?%2572esult=x", "https://shop.example/back?%252572esult=x",
        "https://shop.example/back?a=1%26result=x", "https://shop.example/back?a=1%2526result%253Dx",
        "https://shop.example/back?a;result=x", "https://shop.example/back?a=1%3Bresult=x",
        "https://shop.example/back?Result=x", "https://shop.example/back?%52ESULT=x",
        "https://shop.example/back?+result=x", "https://shop.example/back?%20result%20=x",
        "https://shop.example/back?result%00=x", "https://shop.example/back?%0aresult=x",
        "https://shop.example/back?result%5B%5D=x", "https://shop.example/back?result%5Ba%5D=x",
        "https://shop.example/back?%u0072esult=x", "https://shop.example/back?%25u0072esult=x",
        "https://shop.example/back?%c1%b2esult=x", "https://shop.example/back?%ef%bd%92esult=x",
        "https://shop.example/back?re%c5%bfult=x", "https://shop.example/back?a=%7", "https://shop.example/back?a=%zz",
        "https://shop.example/back?a=1?&result=x", "https://shop.example/back%3Fresult=x",
        "https://shop.example\\@evil.example/back", "https://shop.example/back\\?a=1", "https:\\\\shop.example/back",
        "https://a:b@shop.example/back", "https://shop.example/back?a%23=1#x", "https://shop.example/back;a=1",
        "https://shop.example/back?<script>", "https://shop.example/back?\u202e", " https://shop.example/back",
    ],
)  # fmt: skip
def test_an_address_that_is_not_allowed_is_refused(api: Api, url: str):
    answer = api.post(START, {"to": NUMBER, "page": {"return_url": url}})

    assert answer.status_code == 422 or (len(url) > 500 and answer.status_code == 400), answer.text
    assert not [key for key in api.keys() if b":v:" in key]
    if answer.status_code == 422:
        assert code_of(answer) == (422, "return-url-not-allowed")


@pytest.mark.parametrize(
    "query",
    [
        "?order=1093",
        "?a=1&b=2",
        "?",
        "?a=result&results=1&my_result=%C3%A9",
        "?next=%2Fpay%3Fresult%3D1&list%5B%5D=1+2",
    ],
)
def test_a_query_of_ones_own_comes_back(api: Api, query: str):
    person = Person(api, RETURN + query)
    address = person.send(code=api.code(person.id)).headers["Location"]

    assert address.startswith(RETURN + query)
    assert redeem(api, result_of(address)).json["status"] == "approved"


def test_an_application_without_addresses_has_no_pages(still_world: World):
    answer = Api(still_world).post(START, {"to": NUMBER, "page": {"return_url": RETURN}})

    assert code_of(answer) == (422, "return-url-not-allowed")


# --- what is on it, and what can be done there --------------------------------------------------------------


def test_a_code_that_is_right_leads_back_with_a_result(api: Api):
    person = Person(api)
    page = person.look()
    answer = person.send(code=api.code(person.id))

    assert "Enter your code" in text_of(page)
    assert "+92 ••• ••••567" in text_of(page)
    assert NUMBER[3:] not in page.text
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(f"{RETURN}?result=")
    assert person.status == "approved"
    assert redeem(api, result_of(answer.headers["Location"])).json == {
        "id": person.id, "status": "approved", "proof": None,
    }  # fmt: skip


def test_a_payment_is_shown_and_bound_to_the_code(api: Api):
    person = Person(api, purpose="payment", transaction={**PAYMENT, "reference": "INV-7"})
    page = text_of(person.look())

    for part in ("Confirm this payment", "PKR 1,500.00", "Daraz", "ending in 4821", "INV-7", "Confirm payment"):
        assert part in page
    assert redeem(api, person.approve()).json["status"] == "approved"


def test_a_wrong_code_counts_and_is_said_in_words(api: Api):
    person = Person(api)
    page = person.said(code=api.wrong(person.id))

    assert "This code is not right. Tries left: 4." in page
    assert api.get(f"{START}/{person.id}").json["checks_left"] == 4
    assert person.status == "pending"


@pytest.mark.parametrize("typed", ["", "12345", "abcdef", "1" * 2000, "1234567"])
def test_what_cannot_be_a_code_counts_nothing(api: Api, typed: str):
    person = Person(api)

    assert "It has 6 digits" in person.said(code=typed)
    assert api.get(f"{START}/{person.id}").json["checks_left"] == 5


def test_a_code_in_other_digits_is_right(api: Api):
    person = Person(api, locale="ur")
    code = api.code(person.id).translate({ord("0") + digit: 0x6F0 + digit for digit in range(10)})

    assert person.send(code=code).headers["Location"].startswith(RETURN)


def test_guesses_end_as_they_do_by_the_api(api: Api):
    person = Person(api)
    wrong = api.wrong(person.id)
    pages = [person.said(code=wrong) for _ in range(5)]
    after = person.send(code=api.code(person.id))

    assert "Tries left: 1." in pages[3]
    assert "Too many wrong codes" in pages[4]
    assert "result=" not in after.headers["Location"]
    assert person.status == "max_attempts_reached"


def test_a_locked_number_is_told_so_and_a_right_code_does_not_help(still_world: World):
    api = api_with_pages(still_world, limits={"failed_checks": ["1/day"]})
    person = Person(api)
    person.said(code=api.wrong(person.id))

    assert "too many wrong codes" in person.said(code=api.code(person.id))
    assert person.status == "pending"


def test_a_form_that_is_sent_twice_counts_once(api: Api):
    person = Person(api)
    attempt, code = attempt_of(person.look()), api.code(person.id)
    wrong = [person.send(code=api.wrong(person.id), attempt=attempt) for _ in range(2)]
    right = [person.send(code=code, attempt=attempt) for _ in range(2)]

    assert wrong[0].headers["Location"] == wrong[1].headers["Location"]
    assert right[0].headers["Location"] == right[1].headers["Location"]
    assert api.get(f"{START}/{person.id}").json["status"] == "approved"
    assert "result=" not in person.send(code=code, attempt="another").headers["Location"]


def test_another_message_is_asked_for_as_by_the_api(api: Api, still_world: World):
    person = Person(api)
    page = text_of(person.look())
    early = person.said(channel="sms")
    still_world.advance(31)
    attempt = attempt_of(person.look())
    answers = [person.send(channel="voice", attempt=attempt) for _ in range(2)]
    after = text_of(person.look("?note=sent"))

    assert "Send it by SMS" in page
    assert "Call me with it" in page
    assert "WhatsApp" not in page
    assert "in 30 seconds" in page
    assert "too soon" in early
    assert {answer.headers["Location"].partition("?")[2] for answer in answers} == {"note=sent"}
    assert "Another code is on its way. You can ask for another one in 60 seconds." in after
    assert "We are calling with a code" in after
    assert api.get(f"{START}/{person.id}").json["sends_left"] == 1


@pytest.mark.parametrize(
    ("locale", "sent", "offered"),
    [
        ("en", "We sent a code by Telegram to", "Send it by WhatsApp"),
        ("ur", "ہم نے Telegram پر", "WhatsApp پر بھیجیں"),
        ("ur-Latn", "Hum ne Telegram par", "WhatsApp par bhejen"), ("ar", "عبر Telegram", "أرسله عبر WhatsApp"),
    ],
)  # fmt: skip
def test_an_app_that_shows_the_message_is_named(still_world: World, locale: str, sent: str, offered: str):
    login = {"channels": ["telegram", "whatsapp"]}
    page = text_of(Person(api_with_pages(still_world, purposes={"login": login}), locale=locale).look())

    assert sent in page
    assert offered in page


def test_a_channel_that_the_purpose_does_not_offer_is_refused(api: Api, still_world: World):
    person = Person(api)
    still_world.advance(31)

    assert "No code can be sent now" in person.said(channel="whatsapp")
    assert api.get(f"{START}/{person.id}").json["sends_left"] == 2


def test_when_all_messages_are_sent_none_is_offered(still_world: World):
    api = api_with_pages(still_world, purposes={"login": {"max_sends": 1, "channels": ["sms"]}})
    page = text_of(Person(api, purpose="login").look())

    assert "No further code can be sent." in page
    assert "Send it by SMS" not in page


def test_whoever_was_not_here_hears_nothing_made_up(api: Api):
    person = Person(api)

    assert text_of(person.look("?note=<b>won</b>")) == text_of(person.look())
    assert "won" not in person.look("?note=wonderful&note=sent").text.replace("another one", "")


@pytest.mark.parametrize(
    ("locale", "tag", "words"),
    [
        ("en", "en", "Enter your code"), ("ur-PK", "ur", "اپنا کوڈ درج کریں"), ("ur-Latn", "ur-Latn", "Apna code darj"),
        ("UR-latn-PK", "ur-Latn", "Apna code darj"), ("ar-AE", "ar", "أدخل الرمز"), ("fr", "en", "Enter your code"),
    ],
)  # fmt: skip
def test_it_speaks_the_language_of_the_start(api: Api, locale: str, tag: str, words: str):
    page = Person(api, locale=locale).look()

    assert words in text_of(page)
    assert f'<html lang="{tag}" dir="{"rtl" if tag in {"ur", "ar"} else "ltr"}">' in page.text


# --- how it ends --------------------------------------------------------------------------------------------


def test_after_an_approval_the_address_shows_nothing_that_helps(api: Api):
    person = Person(api, purpose="payment", transaction=PAYMENT)
    result, code = person.approve(), api.code(person.id)
    after = person.look()
    again = person.send(code=code, attempt="thief")

    assert after.status_code == 200
    for part in ("Daraz", "1500", "567", "result=", RETURN, "<form", "<a ", result):
        assert part not in after.text
    assert "Confirmed" in text_of(after)
    assert open_page(api.installation.context, person.path.removeprefix("/p/")).return_with_result is None
    assert again.headers["Location"] == person.path.removeprefix("/p/")
    assert "result=" not in again.headers["Location"]


@pytest.mark.parametrize("how", ["expired", "canceled", "failed"])
def test_what_ended_leads_back_with_that_result(api: Api, still_world: World, how: str):
    person = Person(api, purpose="payment", transaction=PAYMENT)
    code = api.code(person.id)
    if how == "expired":
        still_world.advance(181)
    if how == "canceled":
        api.post(f"{START}/{person.id}/cancel")
    if how == "failed":
        api.post(f"{START}/{person.id}/check", {"code": code, "transaction": {**PAYMENT, "amount": "9"}})
    page = person.look()
    result = re.search(r'href="[^"]*result=([^"]+)"', page.text)
    late = person.send(code=code)

    assert "Nothing was confirmed" in text_of(page)
    assert "Daraz" not in page.text
    assert result is not None
    assert "result=" not in late.headers["Location"]
    assert redeem(api, result[1]).json == {"id": person.id, "status": how, "proof": None}
    assert code_of(redeem(api, result[1])) == (409, "already-redeemed")


def test_it_dies_with_its_verification(api: Api, still_world: World):
    person = Person(api)
    still_world.advance(300 + 599)
    before = person.look().status_code
    still_world.advance(2)

    assert before == 200
    assert person.look().status_code == 404
    assert "no longer here" in text_of(person.look())


def test_an_approval_by_the_api_gives_its_page_no_result(api: Api):
    person = Person(api)
    api.post(f"{START}/{person.id}/check", {"code": api.code(person.id)})

    assert "result=" not in person.look().text
    assert "result=" not in person.send(code=api.code(person.id)).headers["Location"]


# --- results ------------------------------------------------------------------------------------------------


def test_a_result_is_redeemed_once(api: Api):
    result = Person(api).approve()

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(lambda _: redeem(api, result).status_code, range(16)))
    assert statuses == [200] + [409] * 15


def test_a_result_ends_after_five_minutes(api: Api, still_world: World):
    first, second = Person(api), Person(api)
    results = first.approve(), second.approve()
    still_world.advance(299)
    in_time = redeem(api, results[0])
    still_world.advance(1)

    assert in_time.status_code == 200
    assert code_of(redeem(api, results[1])) == (422, "invalid-result")


def test_a_result_is_of_its_application_alone(api: Api):
    result = Person(api).approve()
    foreign = api.call("POST", REDEEM, json={"result": result}, headers={"Authorization": f"Bearer {BANK_KEY}"})

    assert code_of(foreign) == (422, "invalid-result")
    assert redeem(api, result).status_code == 200


def test_a_result_names_its_own_verification(api: Api):
    mine, other = Person(api), Person(api)
    result = mine.approve()
    moved = result.replace(mine.id.removeprefix("vf_"), other.id.removeprefix("vf_"))

    assert moved != result
    assert code_of(redeem(api, moved)) == (422, "invalid-result")
    assert redeem(api, result).json["id"] == mine.id


def test_nothing_else_is_a_result(api: Api):
    person = Person(api)
    result = person.approve()
    token = person.path.removeprefix("/p/")
    head, purpose, at, mac = result.split(".")
    forged = [
        token, f"{head}.{purpose}.{at}.{'A' * 43}", f"{head}.{purpose}.{int(at, 16) + 1:x}.{mac}", f"{head}.{mac}",
        f"k9{head[2:]}.{purpose}.{at}.{mac}", f"{head}.{purpose}.0{at}.{mac}", f"{head}.other.{at}.{mac}",
        f"{head}.{at}.{mac}", "x", person.id,
    ]  # fmt: skip

    assert {code_of(redeem(api, one)) for one in forged} == {(422, "invalid-result")}
    assert api.client.get(f"/p/{result}").status_code == 404


def test_without_the_persons_step_no_result_says_approved(api: Api):
    """Not even one that our own keys made, of a verification that waits."""
    person = Person(api)
    now = 1000 * int(time.time())
    made = PageResult(person.id, "login", now, approved=True).sign(api.installation.context.keyring)

    for _ in range(3):
        person.look()
        api.client.head(person.path)
    assert code_of(redeem(api, made)) == (409, "already-redeemed")
    assert person.status == "pending"
    person.approve()
    assert redeem(api, made).json["status"] == "approved"


def test_who_can_write_to_redis_makes_no_approval_of_another_end(api: Api, still_world: World):
    person = Person(api)
    api.post(f"{START}/{person.id}/cancel")
    result = re.search(r"result=([^\"]+)", person.look().text)
    (record,) = still_world.client.keys(f"*:v:{person.id}")
    state = still_world.client.hget(record, "s")
    still_world.client.hset(record, "s", state.replace(b"\x08canceled", b"\x08approved"))

    assert person.status == "approved"
    assert result is not None
    assert code_of(redeem(api, result[1])) == (422, "invalid-result")


def test_who_can_write_to_redis_makes_no_approval_of_another_purpose(api: Api, still_world: World):
    person = Person(api)
    result = person.approve()
    (record,) = still_world.client.keys(f"*:v:{person.id}")
    fixed = still_world.client.hget(record, "f")
    still_world.client.hset(record, "f", fixed.replace(b"login", b"other"))

    assert code_of(redeem(api, result)) == (422, "invalid-result")


def test_who_can_write_to_redis_has_no_wrong_code_answered_as_right(api: Api, still_world: World):
    """Not even by repeating a form, as an application must not."""
    person = Person(api)
    attempt, wrong = attempt_of(person.look()), api.wrong(person.id)
    person.send(code=wrong, attempt=attempt)
    (remembered,) = still_world.client.keys("*:idempotency:*")
    still_world.client.hset(remembered, "reason", "")
    again = person.send(code=wrong, attempt=attempt)

    assert again.headers["Location"].endswith("?note=wrong")


def test_a_redis_that_lost_the_verification_redeems_nothing(api: Api, still_world: World):
    result = Person(api).approve()
    still_world.client.delete(*still_world.client.keys("*:v:*"))

    assert code_of(redeem(api, result)) == (409, "already-redeemed")


def test_a_result_brings_the_proof_along(still_world: World):
    api = api_with_pages(still_world)
    applications = {
        name: {**one, "proofs": True, "page_return_urls": [RETURN]}
        for name, one in _applications(still_world).items()
    }  # fmt: skip
    api = Api(still_world, http={"public_url": PUBLIC}, applications=applications)
    proof = redeem(api, Person(api).approve()).json["proof"]

    assert api.post("/v1/proofs/redeem", {"proof": proof}).status_code == 200


def _applications(world: World) -> dict[str, Any]:
    return dict(tree(world.url)["applications"])


# --- keys, addresses, headers -------------------------------------------------------------------------------


def test_addresses_survive_a_new_root_key_and_die_with_theirs():
    def ring(**roots: bytes) -> Keyring:
        return Keyring(roots, b"p" * 31 + b"q")

    old, new = bytes(range(32)), bytes(range(1, 33))
    first = ring(k1=old)
    one = first.new_verification_id("00")
    token, result = first.signed(PAGE, one), PageResult(one, "login", 5, approved=True).sign(first)

    assert ring(k2=new, k1=old).read_signed(PAGE, token) == [one]
    assert PageResult.read(ring(k2=new, k1=old), result) == PageResult(one, "login", 5, approved=True)
    assert ring(k2=new).read_signed(PAGE, token) is None
    assert ring(k1=new).read_signed(PAGE, token) is None
    assert PageResult.read(ring(k1=new), result) is None


def test_an_address_is_not_to_be_guessed(api: Api):
    person = Person(api)
    token = person.path.removeprefix("/p/")
    others = [
        token[:-1] + ("A" if token[-2] != "A" else "B"),
        token[:-23],
        token.upper(),
        token + "A",
        f"vf_{token}",
        person.id,
    ]

    assert {api.client.get(f"/p/{one}").status_code for one in others if one != token} == {404}


def test_requests_are_bounded_by_where_they_come_from(still_world: World):
    api = api_with_pages(still_world, http={"public_url": PUBLIC, "page_requests": 10})
    person = Person(api)
    statuses = [person.look().status_code for _ in range(11)]
    refused = person.look()
    elsewhere = api.client.get(person.path, environ_base={"REMOTE_ADDR": "203.0.113.9"}).status_code
    nowhere = api.client.get("/p/nothing").status_code
    still_world.advance(61)

    assert statuses == [200] * 10 + [429]
    assert int(refused.headers["Retry-After"]) in range(1, 61)
    assert "Not possible right now" in text_of(refused)
    assert (elsewhere, nowhere) == (200, 429)
    assert person.look().status_code == 200


def test_no_site_can_frame_it_and_nothing_is_told_to_others(api: Api):
    person = Person(api)
    for answer in (person.look(), api.client.get("/p/nothing")):
        policy = answer.headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy)
        assert "unsafe" not in str(policy)
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "form-action 'self' https://shop.example" in person.look().headers["Content-Security-Policy"].split("; ")
    back = person.send(code=api.code(person.id)).headers
    assert (back["Referrer-Policy"], back["Cache-Control"]) == ("no-referrer", "no-store")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "null"}, {"Sec-Fetch-Site": "same-site", "Origin": "null"},
        {"Sec-Fetch-Site": "none"}, {"Origin": "https://evil.example"}, {"Origin": "https://localhost.evil.example"},
    ],
)  # fmt: skip
def test_a_form_of_another_site_does_nothing(api: Api, headers: dict[str, str]):
    person = Person(api)

    assert person.send(headers=headers, code=api.code(person.id)).status_code == 403
    assert person.status == "pending"


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost"}, {"Origin": "null"}, OWN])
def test_an_own_form_counts_from_old_browsers_too(api: Api, headers: dict[str, str]):
    person = Person(api)

    assert person.send(headers=headers, code=api.code(person.id)).status_code == 303


def test_a_body_that_is_no_form_is_no_code(api: Api):
    person = Person(api)
    answer = api.client.post(person.path, json={"code": api.code(person.id)}, headers=OWN)

    assert answer.headers["Location"].endswith("?note=invalid")


def test_its_files_are_its_own(api: Api):
    page = Person(api).look().text
    sheet = api.client.get("/p/style/1f4fbf.css")
    script = api.client.get("/p/script/page.js")

    assert re.findall(r'(?:src|href|action)="([^"]*)"', page) == ["style/1f4fbf.css", "script/page.js", RETURN]
    assert "style=" not in page
    assert "<style" not in page
    assert "--brand: #1f4fbf" in sheet.text
    assert "--brand: #0a6e4f" in api.client.get("/p/style/0a6e4f.css").text
    assert "OTPCredential" in script.text
    assert "url(" not in sheet.text + script.text
    assert [api.client.get(f"/p/style/{one}.css").status_code for one in ("red", "12345g", "1f4fbf0")] == [404] * 3


def test_when_redis_is_away_a_person_is_told_in_words(api: Api, monkeypatch: pytest.MonkeyPatch):
    person = Person(api)

    def away(*_: Any) -> None:
        raise StoreUnavailableError

    monkeypatch.setattr(type(api.installation.context.store.verifications), "read_at", away)
    answer = person.look(Accept_Language="ur,en;q=0.5")

    assert answer.status_code == 503
    assert "ابھی ممکن نہیں" in text_of(answer)
