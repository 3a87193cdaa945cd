"""Receipts over SMPP: what operators really write, and how a message is found again by what they call it."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_smpp import other_library
from support_smsc import deliver_body, tlv

from otp_service.domain.verification import DeliveryStatus as D
from otp_service.gateways.base import Receipt
from otp_service.gateways.smpp.gateway import MAX_PARTS, MessageParts, ReportedPart, id_spellings, parse_receipt
from otp_service.gateways.smpp.protocol import parse_deliver_sm

CODE = "482913"
UUID = "b0a3c7de-5b0f-4cf5-8d5a-0a1f5a0a9d10"
APPENDIX_B = "id:{id} sub:001 dlvrd:001 submit date:0911241200 done date:0911241201 stat:{stat} err:{err} text:{text}"
VENDORS = [
    # The specification's own form, with the seven states of table B-2.
    (APPENDIX_B.format(id="12", stat="DELIVRD", err="000", text=f"Code {CODE}"), "12", D.DELIVERED, "DELIVRD", None),
    (APPENDIX_B.format(id="1", stat="EXPIRED", err="027", text=""), "1", D.EXPIRED, "EXPIRED", "err 027"),
    (APPENDIX_B.format(id="1", stat="DELETED", err="0", text=""), "1", D.FAILED, "DELETED", None),
    (APPENDIX_B.format(id="1", stat="UNDELIV", err="1", text=""), "1", D.UNDELIVERED, "UNDELIV", "err 1"),
    (APPENDIX_B.format(id="1", stat="ACCEPTD", err="000", text=""), "1", D.SENT, "ACCEPTD", None),
    (APPENDIX_B.format(id="1", stat="UNKNOWN", err="000", text=""), "1", D.UNKNOWN, "UNKNOWN", None),
    (APPENDIX_B.format(id="1", stat="REJECTD", err="88", text=""), "1", D.FAILED, "REJECTD", "err 88"),
    # States beyond it that SMSCs send.
    (APPENDIX_B.format(id="1", stat="ENROUTE", err="000", text=""), "1", D.SENT, "ENROUTE", None),
    (APPENDIX_B.format(id="1", stat="BUFFERD", err="000", text=""), "1", D.UNKNOWN, "BUFFERD", None),
    # Nexmo/Vonage, "How to read an SMPP delivery receipt": ids with leading zeros.
    ("id:0000000012345678 sub:001 dlvrd:001 submit date:1601010100 done date:1601010101 stat:DELIVRD err:000 text:none",
     "0000000012345678", D.DELIVERED, "DELIVRD", None),
    # SMPPCenter, "How to read SMPP delivery receipt": long ids, dates with seconds.
    (f"id:64567564356765435676 sub:001 submit date:190608165232 done date:190608165237 stat:DELIVRD text:{CODE}",
     "64567564356765435676", D.DELIVERED, "DELIVRD", None),
    # CardBoardFish: "Text" with a capital, an error of one digit, a blank behind it.
    (f"id:33E95179 sub:001 dlvrd:000 submit date:0911241200 done date:0911241201 stat:UNDELIV err:8 Text: {CODE}",
     "33E95179", D.UNDELIVERED, "UNDELIV", "err 8"),
    # Members that are missing, in lower case, in another order, with blanks, on lines of their own.
    (f"id:{UUID} stat:DELIVRD", UUID, D.DELIVERED, "DELIVRD", None),
    ("stat:delivrd err:000 id:77 dlvrd:001", "77", D.DELIVERED, "delivrd", None),
    ("ID: 78  STAT: UNDELIV  ERR: 005  TEXT: " + CODE, "78", D.UNDELIVERED, "UNDELIV", "err 005"),
    (f"id:79\nstat:EXPIRED\nerr:34\ntext:{CODE}", "79", D.EXPIRED, "EXPIRED", "err 34"),
    ("id:80 sub:001 dlvrd:001 submit date: done date: stat: err: text:", "80", D.UNKNOWN, "", None),
    # What the text says is not what the operator says.
    (f"id:81 stat:UNDELIV text: id:99 stat:DELIVRD err:000 {CODE}", "81", D.UNDELIVERED, "UNDELIV", None),
    ("id:82 text:stat:DELIVRD", "82", D.UNKNOWN, "", None),
    # A number where a word belongs is not kept.
    ("id:83 stat:923001234567 err:923001234567 text:", "83", D.UNKNOWN, "", None),
]  # fmt: skip
OF_AN_OPERATOR = bytes.fromhex(
    "000101393137303133313033303330000500414d41525654000400000000000000007b69643a313137303632373136323434373938323631"
    "207375623a30303120646c7672643a303031207375626d697420646174653a3137303632373136323420646f6e6520646174653a31373036"
    "32373136323420737461743a44454c49565244206572723a3030303020746578743a481b656c6c6f20776f726c6404230003000014540004"
    "000000011418000400000000"
)
"""The body of a ``deliver_sm`` in issue 70 of onlinecity/php-smpp; the length of a parameter in it is wrong."""


def receipt_in(body):
    return parse_receipt(parse_deliver_sm(body))


@pytest.mark.parametrize(("text", "message_id", "status", "raw", "reason"), VENDORS, ids=[v[0][:40] for v in VENDORS])
def test_what_operators_write_is_read(text, message_id, status, raw, reason):
    report = receipt_in(deliver_body(text.encode("latin-1")))

    assert report == ReportedPart(message_id, Receipt(status, raw, reason))
    assert CODE not in repr(report)


def test_a_receipt_may_be_in_ucs2_or_in_a_payload():
    text = "id:5 stat:DELIVRD err:000 text:کوڈ"

    assert receipt_in(deliver_body(text.encode("utf-16-be"), data_coding=8)).receipt.status is D.DELIVERED
    assert receipt_in(deliver_body(b"", tlvs=tlv(0x0424, text.encode()))).message_id == "5"


def test_a_receipt_of_an_operator_with_a_wrong_length_in_it_is_read():
    report = receipt_in(OF_AN_OPERATOR)

    assert report == ReportedPart("117062716244798261", Receipt(D.DELIVERED, "DELIVRD"))


@pytest.mark.parametrize(
    ("state", "status", "raw"),
    [
        (0, D.SENT, "SCHEDULED"), (1, D.SENT, "ENROUTE"), (2, D.DELIVERED, "DELIVERED"), (3, D.EXPIRED, "EXPIRED"),
        (4, D.FAILED, "DELETED"), (5, D.UNDELIVERED, "UNDELIVERABLE"), (6, D.SENT, "ACCEPTED"),
        (7, D.UNKNOWN, "UNKNOWN"), (8, D.FAILED, "REJECTED"), (9, D.FAILED, "SKIPPED"),
        (42, D.UNKNOWN, "message_state 42"),
    ],
)  # fmt: skip
def test_parameters_are_believed_before_the_text(state, status, raw):
    tlvs = tlv(0x001E, b"abc-1\0") + tlv(0x0427, bytes((state,)))
    report = receipt_in(deliver_body(b"id:999 stat:REJECTD err:000 text:x", tlvs=tlvs))

    assert report == ReportedPart("abc-1", Receipt(status, raw))


def test_a_receipt_of_parameters_alone_is_one_also_without_the_bit():
    tlvs = tlv(0x001E, b"abc") + tlv(0x0427, b"\5") + tlv(0x0423, b"\3\0\1")

    assert receipt_in(deliver_body(esm_class=0, tlvs=tlvs)) == ReportedPart(
        "abc", Receipt(D.UNDELIVERED, "UNDELIVERABLE", "network error 1")
    )


def test_an_intermediate_notification_is_read_too():
    assert receipt_in(deliver_body(b"id:4 stat:ENROUTE", esm_class=0x20)).receipt.status is D.SENT


@pytest.mark.parametrize("esm_class", [0x00, 0x40, 0x08, 0x10])
def test_a_handset_cannot_write_a_receipt(esm_class):
    assert receipt_in(deliver_body(b"id:1 stat:DELIVRD err:000", esm_class=esm_class)) is None


@pytest.mark.parametrize("text", [b"", b"stat:DELIVRD", b"id: stat:DELIVRD", b"msgid:4 stat:DELIVRD", b"text:id:4"])
def test_a_receipt_that_names_no_message_is_none(text):
    assert receipt_in(deliver_body(text)) is None


@given(st.binary(max_size=80))
def test_no_octets_whatever_are_an_error(octets):
    receipt_in(octets)
    receipt_in(deliver_body(octets[:40], tlvs=octets))
    receipt_in(deliver_body(octets[:40], data_coding=8))


def test_another_library_reads_the_same():
    tlvs = tlv(0x001E, b"abc\0") + tlv(0x0427, b"\2")
    body = deliver_body(b"id:abc stat:DELIVRD", tlvs=tlvs)
    theirs = other_library().decode(
        (16 + len(body)).to_bytes(4, "big") + bytes.fromhex("000000050000000000000001") + body
    )

    assert (theirs.esm_class, theirs.short_message, theirs.data_coding) == (4, b"id:abc stat:DELIVRD", 0)
    assert [(t.tag, t.value) for t in theirs.tlvs] == [(0x001E, b"abc\0"), (0x0427, b"\2")]


@pytest.mark.parametrize(
    ("receipt_ids", "answered", "reported"),
    [
        ("same", "b0a3c7de-5b0f-4cf5", "b0a3c7de-5b0f-4cf5"),
        ("same", "0A1B2C3D", "0a1b2c3d"),
        ("same", "0a1b2c3d", "0A1B2C3D"),
        ("same", "00B8BE19", "B8BE19"),
        ("same", "12345678", "0012345678"),
        ("same", "0012345678", "12345678"),
        ("same", "0000000012345678", "12345678"),
        ("decimal_to_hex", "33E95179", "870928761"),
        ("decimal_to_hex", "33e95179", "0870928761"),
        ("decimal_to_hex", "00B8BE19", "12107289"),
        ("hex_to_decimal", "870928761", "33E95179"),
        ("hex_to_decimal", "0870928761", "33e95179"),
        ("auto", "33E95179", "870928761"),
        ("auto", "870928761", "33E95179"),
        ("auto", "870928761", "870928761"),
        ("auto", "0", "0"),
    ],
)
def test_a_message_is_found_by_its_id_in_another_spelling(receipt_ids, answered, reported):
    assert answered in chain(*id_spellings(reported, receipt_ids))


def test_the_likeliest_spelling_comes_first_and_no_number_is_made_of_a_name():
    exact = ("12345678", "0012345678", "0000000012345678")
    assert id_spellings("12345678", "same") == (exact,)
    assert [group[0] for group in id_spellings("12345678", "auto")] == ["12345678", "bc614e", "305419896"]
    assert id_spellings("12345678", "auto")[0] == exact
    assert id_spellings("33E95179", "same") == (
        ("33E95179", "33e95179", "0033E95179", "0033e95179", "00000000" + "33E95179", "00000000" + "33e95179"),
    )
    for receipt_ids in ("auto", "hex_to_decimal", "decimal_to_hex"):
        assert id_spellings("msg-1", receipt_ids) == (("msg-1", "MSG-1"),)


def report(message_id, status):
    return ReportedPart(message_id, Receipt(status, "raw"))


def test_the_last_part_speaks_for_the_message_and_a_lost_part_against_it():
    parts = MessageParts("same")
    parts.remember(("a1", "a2"), "a3")

    assert parts.references(report("a3", D.DELIVERED))[0][0] == "a3"
    for status in (D.UNDELIVERED, D.FAILED, D.EXPIRED):
        assert parts.references(report("A1", status)) == (("a3",),)
    for status in (D.DELIVERED, D.SENT, D.UNKNOWN):
        assert parts.references(report("a2", status)) == ((),)


def test_parts_are_not_remembered_without_end():
    parts = MessageParts("same")
    for number in range(MAX_PARTS + 1):
        parts.remember((f"part-{number}",), "last")

    assert parts.references(report("part-0", D.FAILED))[0][0] == "part-0"
    assert parts.references(report("part-1", D.FAILED)) == (("last",),)


def test_what_would_be_a_part_by_a_guess_takes_nothing_from_the_message_that_is_meant():
    parts = MessageParts("auto")
    parts.remember(("10",), "11")

    exact, as_hex, _ = parts.references(report("16", D.FAILED))
    assert (exact[0], as_hex) == ("16", ("11",))
    assert parts.references(report("16", D.DELIVERED))[1] == ()
