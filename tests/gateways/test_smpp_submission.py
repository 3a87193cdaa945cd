"""Submissions: the octets of a ``submit_sm``, read here by the specification, and compared with another library's."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_smpp import ACCOUNT, MESSAGE, other_library
from support_smsc import MESSAGE as LAYOUT
from support_smsc import decoded

from otp_service.gateways.smpp.protocol import relative_time, submit_bodies
from otp_service.gateways.smpp.settings import SmppSettings

GSM7 = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = dict(zip(b"\x14\x28\x29\x2f\x3c\x3d\x3e\x40\x65", "^{}\\[~]|€", strict=True))
URDU = "ایکمے شاپ: آپ کا کوڈ 482913 ہے۔ یہ 5 منٹ تک کارآمد ہے۔ کسی کو نہ بتائیں، ہمارا عملہ کبھی نہیں پوچھے گا۔"
LONG = "Acme Shop: to pay {PKR} 1,500.00 to Daraz [account 4821] enter 482913. " * 5


def settings(**over):
    return SmppSettings.model_validate({**ACCOUNT, "port": 2775, **over})


def submitted(text, expires_in=287, **over):
    bodies = submit_bodies(replace(MESSAGE, text=text, expires_in=expires_in), settings(**over))
    return [decoded(LAYOUT, body) for body in bodies]


def read_gsm7(octets):
    text, rest = "", iter(octets)
    for octet in rest:
        text += EXTENSION[next(rest)] if octet == 0x1B else GSM7[octet]
    return text


def read(part, octets):
    return octets.decode("utf-16-be") if part["data_coding"] == 8 else read_gsm7(octets)


def joined(parts):
    """Put a message together as a handset does, by the header of each part."""
    found, numbers = {}, set()
    for part in parts:
        assert part["esm_class"] == 0x40
        length, element, size, number, total, position = part["short_message"][:6]
        assert (length, element, size, total) == (5, 0, 3, len(parts))
        found[position] = read(part, part["short_message"][6:])
        numbers.add(number)
    assert len(numbers) == 1
    return "".join(found[position] for position in range(1, len(parts) + 1))


def test_a_short_english_text_is_one_part_of_a_septet_an_octet():
    (part,) = submitted("Code {482913} @ 5€")

    assert part["short_message"] == b"Code \x1b\x28482913\x1b\x29 \x00 5\x1b\x65"
    assert (part["esm_class"], part["data_coding"], part["tlvs"]) == (0, 0, {})


def test_a_text_beyond_the_alphabet_is_ucs2():
    (part,) = submitted("کوڈ 482913 🔑")

    assert part["short_message"] == "کوڈ 482913 🔑".encode("utf-16-be")
    assert (part["esm_class"], part["data_coding"]) == (0, 8)


@pytest.mark.parametrize(("text", "count", "octets"), [(URDU, 2, 140), (LONG, 3, 159)])
def test_a_long_text_comes_together_again_by_its_header(text, count, octets):
    parts = submitted(text)

    assert len(parts) == count
    assert max(part["sm_length"] for part in parts) <= octets
    assert joined(parts) == text


@given(st.text(st.sampled_from([*GSM7.replace("\x1b", ""), *EXTENSION.values(), "ک", "🔑"]), max_size=400))
def test_no_character_is_ever_lost(text):
    parts = submitted(text)

    assert (joined(parts) if len(parts) > 1 else read(parts[0], parts[0]["short_message"])) == text
    assert all(part["sm_length"] <= (160 if part["data_coding"] == 0 else 140) for part in parts)


def test_parts_may_be_numbered_by_parameters_instead():
    parts = submitted(LONG, concatenation="sar")

    assert "".join(read(part, part["short_message"]) for part in parts) == LONG
    assert {part["esm_class"] for part in parts} == {0}
    assert len({part["tlvs"].pop(0x020C) for part in parts}) == 1
    assert [part["tlvs"] for part in parts] == [{0x020E: b"\3", 0x020F: bytes((n,))} for n in (1, 2, 3)]


def test_a_long_text_may_go_whole():
    (part,) = submitted(LONG, concatenation="payload")

    assert read_gsm7(part["tlvs"][0x0424]) == LONG
    assert (part["sm_length"], part["esm_class"]) == (0, 0)
    assert submitted("short", concatenation="payload")[0]["short_message"] == b"short"


def test_what_stands_for_the_alphabet_can_be_set():
    assert [part["data_coding"] for part in submitted(LONG, gsm7_data_coding=1)] == [1, 1, 1]
    assert submitted("کوڈ", gsm7_data_coding=1)[0]["data_coding"] == 8


@pytest.mark.parametrize(
    ("source", "written", "types"),
    [("Acme", "Acme", (5, 0)), ("+15550001111", "15550001111", (1, 1)), ("8558", "8558", (0, 1)), ("", "", (0, 0))],
)
def test_the_type_of_the_sender_follows_from_its_form(source, written, types):
    (part,) = submitted("x", source=source)

    assert part["source_addr"] == written
    assert (part["source_addr_ton"], part["source_addr_npi"]) == types


def test_types_of_addresses_can_be_set():
    over = {"source_ton": 3, "source_npi": 9, "destination_ton": 2, "destination_npi": 8}
    (part,) = submitted("x", **over)

    assert [part[f"{end}_addr_{what}"] for end in ("source", "dest") for what in ("ton", "npi")] == [3, 9, 2, 8]
    assert part["destination_addr"] == "923001234567"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (287, "000000000447000R"),
        (0, "000000000001000R"),
        (-5, "000000000001000R"),
        (3_600, "000000010000000R"),
        (90_061, "000001010101000R"),
        (10**9, "000030235959000R"),
    ],
)
def test_a_message_lives_no_longer_than_its_code(seconds, written):
    assert relative_time(seconds) == written
    assert len(written) == 16
    assert submitted("x", expires_in=seconds)[0]["validity_period"] == written


def test_an_smsc_that_knows_no_relative_time_is_told_none():
    assert submitted("x", validity_period=False)[0]["validity_period"] == ""


@given(st.sampled_from(["udh", "sar", "payload"]), st.sampled_from([URDU, LONG, "x", "[€]"]))
def test_another_library_writes_the_same_octets(concatenation, text):
    smpp34 = other_library()
    message = replace(MESSAGE, text=text)
    for body in submit_bodies(message, settings(concatenation=concatenation)):
        ours = decoded(LAYOUT, body)
        members = {name: ours[name] for name, _ in LAYOUT if name != "sm_length"}
        tlvs = [smpp34.Tlv(tag, value) for tag, value in ours["tlvs"].items()]
        theirs = smpp34.SubmitSm(**members, tlvs=tlvs, sequence_number=1).encode()
        assert theirs[16:] == body
