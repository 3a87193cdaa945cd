"""How texts are encoded and cut, by the vectors of 3GPP TS 23.038 and by the properties that every cut has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_service.domain.segments import Encoding, encode_gsm7, encoding_of, not_in_gsm7, octets, segments, units

EXTENSION = "^{}\\[~]|€\f"
GSM7 = st.text(st.sampled_from("aZ 0@£ΩèÅ\n\r" + EXTENSION), max_size=700)
ANY = st.text(st.sampled_from("aZ€آ\u06d4😀𐐷"), max_size=400)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", [0]),
        ("a" * 160, [160]),
        ("a" * 161, [153, 8]),
        ("a" * 306, [153, 153]),
        ("a" * 307, [153, 153, 1]),
        ("a" * 158 + "€", [159]),
        ("a" * 159 + "€", [153, 7]),
        ("a" * 152 + "€" + "b" * 20, [152, 21]),
        ("آ" * 70, [70]),
        ("آ" * 71, [67, 4]),
        ("آ" * 134, [67, 67]),
        ("آ" * 135, [67, 67, 1]),
        ("آ" * 68 + "😀", [69]),
        ("آ" * 69 + "😀", [67, 3]),
        ("آ" * 66 + "😀" + "آ" * 5, [66, 6]),
    ],
)
def test_a_text_is_cut_at_the_borders_of_the_standard(text, parts):
    assert [len(part) for part in segments(text)] == parts


@given(st.one_of(GSM7, ANY))
def test_every_part_fits_and_nothing_is_lost_or_torn(text):
    encoding, parts = encoding_of(text), segments(text)
    room = encoding.single_length if len(parts) == 1 else encoding.part_length

    assert "".join(parts) == text
    for part in parts:
        length = len(encode_gsm7(part)) if encoding is Encoding.GSM7 else len(part.encode("utf-16-be")) // 2
        assert length <= room


@given(GSM7)
def test_an_escape_sequence_is_never_torn(text):
    assert all(not encode_gsm7(part).endswith(b"\x1b") for part in segments(text))


@pytest.mark.parametrize(
    ("text", "septets"),
    [
        ("@£$", b"\x00\x01\x02"),
        ("\n\r", b"\x0a\x0d"),
        ("Δ_ΦΓΛΩΠΨΣΘΞ", bytes(range(0x10, 0x1B))),
        ("ÆæßÉ", b"\x1c\x1d\x1e\x1f"),
        (" ¤?", b"\x20\x24\x3f"),
        ("¡AZÄÖÑÜ§", b"\x40\x41\x5a\x5b\x5c\x5d\x5e\x5f"),
        ("¿azäöñüà", b"\x60\x61\x7a\x7b\x7c\x7d\x7e\x7f"),
        ("€^~\f", b"\x1b\x65\x1b\x14\x1b\x3d\x1b\x0a"),
        ("{}[]\\|", b"\x1b\x28\x1b\x29\x1b\x3c\x1b\x3e\x1b\x2f\x1b\x40"),
    ],
)
def test_septets_are_those_of_the_tables(text, septets):
    assert encode_gsm7(text) == septets


@pytest.mark.parametrize("character", ["\u2019", "\u2013", "\u00a0", "ç", "`", "\x1b", "\t", "ک", "😀"])
def test_a_character_outside_the_alphabet_makes_the_text_ucs2(character):
    text = f"ab{character}"

    assert encoding_of("ab") is Encoding.GSM7
    assert encoding_of(text) is Encoding.UCS2
    assert not_in_gsm7(text) == [2]
    with pytest.raises(ValueError, match="outside the GSM 7-bit alphabet"):
        encode_gsm7(text)


def test_lengths_are_those_on_the_air():
    assert (units("a€"), octets("a€")) == (3, 3)
    assert (units("a" * 160), octets("a" * 160)) == (160, 140)
    assert (units("آ😀"), octets("آ😀")) == (3, 6)
    assert octets("آ" * 70) == 140
