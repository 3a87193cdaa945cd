"""The messages that come with the package: every one of them, as it is read and as machines read it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from support_bidi import shown
from support_messages import APP_HASH, CATALOGUE, LANGUAGES, PAYMENT, WITHOUT_ACCOUNT, message_content, text

from otp_service.domain.messages import render_message
from otp_service.domain.payments import Transaction
from otp_service.domain.segments import octets, segments
from otp_service.domain.templates import MAX_MINUTES, is_right_to_left
from otp_service.domain.verification import Channel
from otp_service.settings.message_files import alphabet_faults, cost_faults, measure_texts

SNAPSHOT = Path(__file__).with_name("messages.txt")
SITUATIONS = {"login": None, "payment": PAYMENT, "payment without account": WITHOUT_ACCOUNT}
LAST_LINES = {
    "": {},
    "origin": {"origin": "acme.example"},
    "hash": {"app_hash": APP_HASH},
    "origin and hash": {"origin": "acme.example", "app_hash": APP_HASH},
}


def every_text():
    for locale in LANGUAGES:
        for situation, transaction in SITUATIONS.items():
            for channel in filter(lambda one: one.traits.shows_words, Channel):
                yield f"{locale}, {situation}, {channel}", text(locale, transaction, channel)
        language = CATALOGUE.languages[locale.lower()]
        yield f"{locale}, minutes", "\n".join(map(language.duration, range(MAX_MINUTES + 1)))


def test_the_messages_are_those_that_were_read_by_eye():
    """After a change of words: read what the failure shows, then write it to the file."""
    assert "\n".join(f"=== {brand}\n{words}\n" for brand, words in every_text()) == SNAPSHOT.read_text(encoding="utf-8")


def test_every_message_is_within_the_budget_and_the_alphabet_of_its_file():
    assert list(alphabet_faults(CATALOGUE)) == []
    assert list(cost_faults(measure_texts(CATALOGUE, {}))) == []


@pytest.mark.parametrize(("locale", "login", "payment"), [("en", 1, 1), ("ur-Latn", 1, 1), ("ur", 1, 2), ("ar", 1, 2)])
def test_ordinary_messages_are_cheap(locale, login, payment):
    assert (len(segments(text(locale))), len(segments(text(locale, PAYMENT)))) == (login, payment)


@pytest.mark.parametrize("locale", ["en", "ur-Latn", "ur"])
def test_an_ordinary_payment_with_an_origin_takes_two_segments_at_most(locale):
    assert len(segments(text(locale, PAYMENT, origin="acme.example"))) <= 2


@pytest.mark.parametrize(("locale", "most"), [("en", 1), ("ur-Latn", 1), ("ur", 2), ("ar", 2)])
def test_the_longest_login_with_origin_and_hash_keeps_to_the_budget(locale, most):
    longest = [
        text(locale, None, "sms", minutes, brand="M" * 30, origin="acme.example", app_hash=APP_HASH)
        for minutes in range(MAX_MINUTES + 1)
    ]

    assert max(len(segments(one)) for one in longest) == most


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("transaction", [None, PAYMENT])
def test_a_message_says_who_sends_it_how_long_it_is_valid_and_not_to_share_it(locale, transaction):
    for channel in Channel:
        words = text(locale, transaction, channel)
        phrases = {language.never_share for language in CATALOGUE.languages.values()}
        assert "Acme Bank" in words
        assert "5 " in words
        assert any(phrase in words for phrase in phrases)


@pytest.mark.parametrize("locale", LANGUAGES)
def test_a_payment_has_other_words_than_a_login_and_names_what_is_paid(locale):
    for channel in Channel:
        words = text(locale, PAYMENT, channel)
        account = "4, 8, 2, 1" if channel is Channel.VOICE else "4821"
        assert all(part in words for part in ("PKR 25,000.00", "Corner Store", account))
        assert account not in text(locale, WITHOUT_ACCOUNT, channel)
        assert first_words(words) != first_words(text(locale, None, channel))


def first_words(words):
    return words.replace("Acme Bank", "")[:12]


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("transaction", [None, PAYMENT])
@pytest.mark.parametrize("channel", ["sms", "whatsapp"])
def test_the_code_is_one_run_of_ascii_digits_and_never_comes_first(locale, transaction, channel):
    words = text(locale, transaction, channel)

    assert re.findall(r"(?<![^\W_])\d{6,}(?![^\W_])", words) == ["012345"]
    assert re.findall(r"\b\d{6}\b", words) == ["012345"]
    assert not words.startswith("012345")
    assert all(one.isascii() for one in words if one.isdecimal())


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("transaction", [None, PAYMENT])
def test_a_voice_says_the_digits_one_by_one_twice(locale, transaction):
    words = text(locale, transaction, "voice", origin="acme.example", app_hash=APP_HASH)

    assert words.count("0, 1, 2, 3, 4, 5") == 2
    assert "012345" not in words
    assert "acme.example" not in words
    assert APP_HASH not in words


# --- right to left ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [None, 0, 1])
@pytest.mark.parametrize("locale", ["ur", "ar"])
@pytest.mark.parametrize("payee", ["Corner Store", "24 Shop", "Shop 24", "دکان نمبر 24", "A. B. & Co."])
def test_neither_code_nor_amount_is_reordered_whatever_payee_and_brand_are(locale, payee, base):
    transaction = Transaction("25000.00", "PKR", payee, "4821")
    for brand in ("Acme Bank", "7 Star", "بینک"):
        lines = [shown(line, base) for line in text(locale, transaction, brand=brand).split("\n")]
        assert "012345" in lines
        assert len([line for line in lines if "PKR 25,000.00" in line]) == 1
        assert len([line for line in lines if re.search(r"\b4821\b", line)]) == 1


@pytest.mark.parametrize("locale", ["ur", "ar"])
@pytest.mark.parametrize("transaction", [None, PAYMENT])
def test_a_right_to_left_message_reads_from_the_right(locale, transaction):
    lines = text(locale, transaction).split("\n")

    for line in lines:
        if line != "012345":
            assert is_right_to_left(shown(line)[-1])


@pytest.mark.parametrize("locale", LANGUAGES)
def test_no_invisible_mark_is_needed_anywhere(locale):
    for transaction in (None, PAYMENT):
        for channel in Channel:
            assert not re.search(
                r"[\u200b-\u200f\u202a-\u202e\u2066-\u2069\u00a0\u202f]", text(locale, transaction, channel)
            )


# --- the last line, as machines read it ---------------------------------------------------------------------

ASCII_WHITESPACE = "\t\n\f\r "


def parse(message):
    """Return host, embedded host and code, or None: the WICG's "parse an origin-bound one-time code message"."""
    line = re.sub(r"\r\n?", "\n", message).split("\n")[-1]
    host, position = marked_token(line, 0, "@")
    if host is None or position >= len(line) or line[position] != " ":
        return None
    code, position = marked_token(line, position + 1, "#")
    if code is None:
        return None
    embedded = marked_token(line, position + 1, "%")[0] if line[position : position + 1] == " " else None
    return host, embedded, code


def marked_token(string, position, marker):
    """Return "extract a marked token" and where it ends."""
    if position >= len(string) or string[position] != marker:
        return None, position
    start = end = position + 1
    while end < len(string) and string[end] not in ASCII_WHITESPACE:
        end += 1
    return (string[start:end] or None), end


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("@example.com #747723", ("example.com", None, "747723")),
        ("747723 is your code.\n\n@example.com #747723", ("example.com", None, "747723")),
        ("@example.com #747723 %ecommerce.example", ("example.com", "ecommerce.example", "747723")),
        ("@example.com #747723 %ecommerce.example $future", ("example.com", "ecommerce.example", "747723")),
        (f"@acme.pk #123456 {APP_HASH}", ("acme.pk", None, "123456")),
        ("x\r\n@acme.pk #123456", ("acme.pk", None, "123456")),
        (f"@acme.pk #123456\n{APP_HASH}", None),
        ("@acme.pk #123456\n", None),
        ("@acme.pk  #123456", None),
        ("something @example.com #747723", None),
        ("@example.com code #747723", None),
        ("#747723 %ecommerce.example @example.com", None),
        ("@acme.pk", None),
        ("@ #123456", None),
        ("@acme.pk #", None),
        ("", None),
    ],
)
def test_the_parser_of_these_tests_does_what_the_specification_says(message, found):
    assert parse(message) == found


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("transaction", [None, PAYMENT])
@pytest.mark.parametrize("members", LAST_LINES.values(), ids=LAST_LINES)
def test_browsers_and_apps_find_what_is_theirs_in_the_last_line(locale, transaction, members):
    message = text(locale, transaction, **members)
    found = re.search(rf"(?:^|\s){re.escape(APP_HASH)}$", message)

    assert parse(message) == (("acme.example", None, "012345") if "origin" in members else None)
    assert bool(found) is ("app_hash" in members)
    assert "012345" in message.split("\n@")[0]


def test_the_last_line_is_exact():
    plain = text()

    assert {name: text(**members).removeprefix(plain) for name, members in LAST_LINES.items()} == {
        "": "",
        "origin": "\n@acme.example #012345",
        "hash": f"\n{APP_HASH}",
        "origin and hash": f"\n@acme.example #012345 {APP_HASH}",
    }


def test_whatsapp_has_the_words_of_a_text_message_without_its_last_line():
    members = LAST_LINES["origin and hash"]

    assert text("ur", PAYMENT, "whatsapp", **members) == text("ur", PAYMENT)


def test_a_message_with_a_hash_fits_what_android_reads_where_the_language_allows_it():
    for locale in ("en", "ur-Latn"):
        assert octets(text(locale, **LAST_LINES["origin and hash"])) <= 140
        assert octets(text(locale, PAYMENT, **LAST_LINES["hash"])) <= 140
    assert octets(text("ur", brand="Daraz", **LAST_LINES["hash"])) <= 140


# --- locales ------------------------------------------------------------------------------------------------


def test_a_login_in_english_is_as_it_always_was():
    assert text(brand="Acme", origin="shop.example") == (
        "Your Acme code is 012345. It is valid for 5 minutes. Never share it.\n@shop.example #012345"
    )


@pytest.mark.parametrize(
    ("asked", "own", "locale", "amount"),
    [
        ("en-GB", "ur", "en-GB", "PKR 25,000.00"),
        ("de", "ur-PK", "ur-PK", "PKR 25,000.00"),
        ("de-AT", "fr", "en", "PKR 25,000.00"),
        ("en-DE", "en", "en-DE", "25.000,00 PKR"),
    ],
)
def test_words_and_amount_are_of_one_locale(asked, own, locale, amount):
    one = message_content(asked, PAYMENT)
    written = render_message(CATALOGUE, replace(one, application=replace(one.application, locale=own)))

    assert written.locale == locale
    assert amount in written.text


def test_a_provider_with_templates_of_its_own_gets_what_the_text_was_made_of():
    login = render_message(CATALOGUE, message_content("ur"))
    payment = render_message(CATALOGUE, message_content("en", PAYMENT, "whatsapp"))

    assert login.variables == {"brand": "Acme Bank", "code": "012345", "minutes": "5 منٹ"}
    assert payment.variables == {
        "brand": "Acme Bank",
        "code": "012345",
        "minutes": "5 minutes",
        "amount": "PKR 25,000.00",
        "payee": "Corner Store",
        "account": "4821",
    }
    assert "account" not in render_message(CATALOGUE, message_content("en", WITHOUT_ACCOUNT)).variables


def test_neither_wording_nor_text_shows_its_content():
    one = message_content("en", PAYMENT)

    for shown_of in (repr(one), repr(render_message(CATALOGUE, one))):
        assert "012345" not in shown_of
        assert "25" not in shown_of
        assert "Corner Store" not in shown_of


@pytest.mark.parametrize("value", ["{code}", "{0}", "%s"])
def test_a_brand_that_looks_like_a_variable_stays_what_it_is(value):
    assert text(brand=value).startswith(f"Your {value} code is 012345.")
