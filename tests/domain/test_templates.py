"""Templates take typed variables and nothing else, and the rules find what would harm whoever reads a message."""

import pytest
from support_bidi import shown

from otp_service.domain.templates import (
    TemplateError,
    Variable,
    direction_faults,
    parse_template,
    spoken_faults,
    word_faults,
    written_faults,
)

LOGIN = "Your {brand} code is {code}. It is valid for {minutes}. {never_share}"
SPOKEN = "{brand}: {digits}. Again: {digits}. {minutes}. {never_share}"


def parsed(source):
    return parse_template(source, tuple(Variable))


@pytest.mark.parametrize("text", [LOGIN, SPOKEN, "{{{code}}}", "no variable", "آپ کا {brand}\n{code}"])
def test_a_template_is_read_as_it_is_written(text):
    template = parsed(text)

    assert template.fill({name: f"{{{name}}}" for name in Variable}) == text.replace("{{", "{").replace("}}", "}")


def test_a_value_that_looks_like_a_variable_stays_what_it_is():
    assert parsed("{payee} {code}").fill({"payee": "{code}{0}%s", "code": "1"}) == "{code}{0}%s 1"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{to}", "names {to}, which is not known"),
        ("{}", "names {}, which is not known"),
        ("{0}", "names {0}, which is not known"),
        ("{code.real}", "not known"),
        ("{code[0]}", "not known"),
        ("{ code }", "not known"),
        ("{CODE}", "not known"),
        ("{code!r}", "conversion or a format"),
        ("{code:>9}", "conversion or a format"),
        ("{code:}", "conversion or a format"),
        ("{code:{brand}}", "conversion or a format"),
        ("{code", "single brace"),
        ("code}", "single brace"),
    ],
)
def test_anything_but_a_plain_known_variable_is_refused(source, reason):
    with pytest.raises(TemplateError) as refused:
        parsed(source)

    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("Go to https://evil", "link"),
        ("see www.evil", "link"),
        ("see acme.pk", "link"),
        ("see {brand}.com", "link"),
        ("یہ دیکھیں acme.پاکستان", "link"),
        ("write to us@acme", "@ or #"),
        ("order #5", "@ or #"),
        ("call 111222 now", "pass for a code"),
        ("call ۱۱۱۲۲۲۳۳ now", "pass for a code"),
        ("a\tb", "U+0009"),
        ("a\r\nb", "U+000D"),
        ("a\u202eb", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("a\u200bb", "U+200B ZERO WIDTH SPACE"),
        ("a\u2028b", "U+2028"),
    ],
)
def test_words_that_could_harm_are_found(words, fault):
    assert [one for one in word_faults(words) if fault in one]


@pytest.mark.parametrize("words", [LOGIN, SPOKEN, "call 1199 or 0300 1234", "می\u200cخواهم", "one. Two! {a}. {b}"])
def test_harmless_words_pass(words):
    assert list(word_faults(words)) == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (LOGIN.replace("{brand}", ""), "does not name {brand}"),
        (LOGIN.replace("{minutes}", ""), "does not name {minutes}"),
        (LOGIN.replace("{never_share}", ""), "does not name {never_share}"),
        (LOGIN.replace("{code}", ""), "not exactly once"),
        (LOGIN + " {code}", "not exactly once"),
        ("{code} is your {brand} code for {minutes}. {never_share}", "starts with {code}"),
        ("\n {code} is your {brand} code for {minutes}. {never_share}", "starts with {code}"),
        (LOGIN.replace("{code}", "{code}{minutes}"), "right beside {code}"),
        (LOGIN.replace("{code}", "A{code}"), "right beside {code}"),
        (LOGIN.replace("{code}", "{code}0"), "right beside {code}"),
        (LOGIN + "\n", "space or an empty line"),
        (" " + LOGIN, "space or an empty line"),
    ],
)
def test_a_text_that_is_read_has_everything_in_its_place(source, fault):
    assert list(written_faults(parsed(LOGIN), payment=False)) == []
    assert [one for one in written_faults(parsed(source), payment=False) if fault in one]


@pytest.mark.parametrize("name", ["amount", "payee", "account"])
def test_a_payment_is_told_completely(name):
    whole = LOGIN + " {amount} {payee}{account}"

    assert list(written_faults(parsed(whole), payment=True)) == []
    assert list(written_faults(parsed(whole.replace(f"{{{name}}}", "")), payment=True)) == [f"does not name {{{name}}}"]


def test_a_text_that_is_heard_says_the_digits_twice():
    assert list(spoken_faults(parsed(SPOKEN), payment=False)) == []
    for source in (SPOKEN.replace(" Again: {digits}.", ""), SPOKEN + " {digits}"):
        assert [one for one in spoken_faults(parsed(source), payment=False) if "exactly twice" in one]
    assert len(list(spoken_faults(parsed("x"), payment=True))) == 7


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{brand} رقم: {amount}", "two values"),
        ("رقم: {amount} {payee}", "two values"),
        ("کوڈ: {code}", "beside right-to-left letters"),
        ("{brand} کا کوڈ", "does not start with a right-to-left letter"),
        (": کوڈ", "does not start with a right-to-left letter"),
        ("{payee}", "without a word of its own"),
    ],
)
def test_a_right_to_left_line_that_could_be_reordered_is_found(line, fault):
    assert [one for one in direction_faults(f"آپ کا کوڈ\n{line}\n{{code}}") if fault in one]


def test_the_rule_of_one_value_a_line_is_needed():
    assert "24 Shop" not in shown("آپ کا 24 Shop 1,500.00 PKR کوڈ")
    assert "PKR 1,500.00 24" in shown("رقم PKR 1,500.00 24 Shop")
    assert list(direction_faults("آپ کا کوڈ\nرقم: {amount}\n{code}\nمیعاد: {minutes}۔ {never_share}")) == []


@pytest.mark.parametrize("base", [None, 0, 1])
def test_a_currency_before_its_amount_is_one_run_whatever_the_direction_of_the_line(base):
    assert "PKR 1,500.00" in shown("رقم: PKR 1,500.00", base)
    assert "123456" in shown("123456", base)


def test_a_currency_after_its_amount_is_torn_away_where_a_handset_assumes_left_to_right():
    assert shown("رقم: 1,500.00 PKR", 0) == "1,500.00 :مقر PKR"
