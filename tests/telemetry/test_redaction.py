"""What the last line of defence hides, and what it must leave readable."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

import otp_service
from otp_service.telemetry.redaction import (
    PRIVATE_KEYS,
    REDACTED,
    SafeNumber,
    SafeText,
    redact,
    redact_event,
    redact_text,
)


@pytest.mark.parametrize(
    "spelling",
    [
        "+923001234567",
        "923001234567",
        "0300 1234567",
        "+92 300 123-4567",
        "(0300) 1234567",
        "+1.415.555.2671",
        "415.555.2671",
        "0300\u00a0123\u20114567",
        "%2B923001234567",
        "tel:+923001234567",
        "\u06f0\u06f3\u06f0\u06f0\u06f1\u06f2\u06f3\u06f4\u06f5\u06f6\u06f7",
        "1234567",
        "493817",
        "Acme: 493817 is your code.",
        "003400390033003800310037",
    ],
)
def test_a_number_or_a_code_is_masked_in_whatever_spelling(spelling):
    shown = redact_text(f"failed for <{spelling}> at the gateway")

    assert REDACTED in shown
    assert sum(character.isdigit() for character in shown) < 4
    assert shown.startswith("failed for <")
    assert shown.endswith("> at the gateway")


MADE = re.compile(r"\b([a-z]{2})_\{")


def test_every_identifier_that_the_package_makes_stays_readable():
    """An operator follows a message, a factor or a webhook through the log by its identifier, whatever its digits."""
    package = Path(otp_service.__file__).parent
    kinds = {kind for path in package.rglob("*.py") for kind in MADE.findall(path.read_text(encoding="utf-8"))}
    digits = random.Random(1)

    assert {"ak", "dp", "er", "fa", "po", "rq", "us", "vf", "we", "wh"} <= kinds
    for kind in kinds - {"vf"}:
        for length in (32, 34, 56):
            for _ in range(300):
                name = f"{kind}_{digits.getrandbits(4 * length):0{length}x}"
                assert redact_text(f"of {name}, tried again") == f"of {name}, tried again"


@pytest.mark.parametrize(
    "text",
    [
        "vf_k1_0012345678901234567890123456789012",
        "vf_main2026_ff" + "9" * 32,
        "dp_" + "1234567890" * 3 + "12",
        "rq_" + "0" * 32,
        "ak_" + "01234567" * 4,
        "SM" + "12345678" * 4,
        "sha256:" + "1234" * 16,
        "12345678-1234-1234-1234-123456789012",
        "2026-11-24T22:00:00.123456Z",
        "2026-11-24 22:00:00,123",
        "1764021600000-0",
        "pid: 1234567",
        "listening at http://127.0.0.1:8000",
        "0.0.0.0:8080",
        "10.123.123.123:6379",
        "[fd12:3456:789a::1]:6379",
        "HTTP/1.1 201",
        "12:34:56",
        "+92 ••• ••••567",
    ],
)
def test_what_an_operator_needs_stays_readable(text):
    assert redact_text(text) == text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("GET /send?user=shop&password=hunter2 failed", "hunter2"),
        ("redis://default:hunter2@redis:6379/0", "hunter2"),
        ("Authorization: Bearer abc.def-ghi", "abc"),
        ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("key otp_" + "kW3xq-Zl0a" * 4 + "abc", "kW3xq"),
        ("token ct_k1_00" + "ab" * 16 + ".kW3xq-Zl0a.Yabc", "kW3xq"),
        ("token ct_k1_00" + "ab" * 16 + ".kW3xq-Zl0a.Yabc", "Yabc"),
        ("peer 203.0.113.77 closed", "203.0.113.77"),
        ("peer 2001:db8::77 closed", "2001:db8"),
    ],
)
def test_secrets_and_addresses_of_the_internet_are_masked(text, secret):
    assert secret not in redact_text(text)
    assert REDACTED in redact_text(text)


@pytest.mark.parametrize("key", sorted(PRIVATE_KEYS))
def test_private_members_are_never_shown(key):
    event = redact_event(None, "info", {key: "Aisha", key.upper().replace("_", "-"): "Aisha", "n": {key: "Aisha"}})

    assert "Aisha" not in str(event)


def test_secret_types_and_containers_are_redacted_all_the_way_down():
    value = {"a": [SecretStr("hunter2"), ("+923001234567", {"b": b"923001234567"})], "923001234567": 1}

    assert redact(value) == {"a": [REDACTED, [REDACTED, {"b": f"b'{REDACTED}'"}]], REDACTED: 1}


def test_small_numbers_are_shown_and_long_ones_are_not():
    assert redact([200, 0.25, True, None, 8000]) == [200, 0.25, True, None, 8000]
    assert redact([923001234567, 493817, -923001234567.0]) == [REDACTED] * 3


def test_what_is_said_to_be_no_persons_data_is_shown_whatever_its_length():
    link = SafeText("7" * 64)

    assert (redact(SafeNumber(9_233_312_345)), redact(link)) == (9_233_312_345, link)
    assert redact_event(None, "info", {"code": SafeNumber(123456), "to": SafeText("a")}) == {
        "code": REDACTED,
        "to": REDACTED,
    }


def test_nothing_can_begin_another_line_or_turn_the_text_around():
    shown = redact_text('ok\r\n{"level": "error"}\u2028\x85\x1b[2J\u202e')

    assert shown.splitlines() == [shown]
    assert shown.isprintable()


@given(st.text(), st.integers(min_value=10**6, max_value=10**14), st.text())
def test_no_text_around_a_number_lets_it_through(before, number, after):
    # Between two digits, or in a word of its own such as an id, a number is not a number any more.
    shown = redact_text(f"{before} {number} {after}")

    assert f" {number} " not in shown


@given(st.text(alphabet="0123456789abcdef:.?=@/+ -_", max_size=300))
def test_redacting_twice_changes_nothing_more(text):
    once = redact_text(text)

    assert redact_text(once) == once
