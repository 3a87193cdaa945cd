"""Names of senders that may be registered, and when a registration ends."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from otp_service.domain.sending_rules import NOTICE_DAYS, Sender, sender_id_faults

RESERVED = ("INFO", "SMS", "SMSINFO")
TODAY = date(2026, 11, 26)
SENDER = Sender("acme", "PK", "PTA-1", None, sender_id="ACME", category="transactional", applications=frozenset())


@pytest.mark.parametrize("sender_id", ["ACME", "Acme Shop", "A1", "ABCDEFGHIJK", "HBL 4242"])
def test_a_name_that_tells_who_sends_is_accepted(sender_id: str):
    assert list(sender_id_faults(sender_id, RESERVED)) == []


@pytest.mark.parametrize(
    ("sender_id", "fault"),
    [
        ("ABCDEFGHIJKL", "has 12 characters: at most 11 fit"),
        ("INFO", "is a general word: it does not identify the sender"),
        ("info", "is a general word: it does not identify the sender"),
        ("SMS INFO", "is a general word: it does not identify the sender"),
        ("I N F O", "is a general word: it does not identify the sender"),
        ("INFO 1", "is a general word: it does not identify the sender"),
        ("ACME  SHOP", "has two blanks in a row"),
        ("ACME-PK", "has other characters than letters A to Z, digits, and blanks between them"),
        ("ACME!", "has other characters than letters A to Z, digits, and blanks between them"),
        ("AСME", "has other characters than letters A to Z, digits, and blanks between them"),
        ("ایکمے", "has other characters than letters A to Z, digits, and blanks between them"),
        ("ACME\n", "has other characters than letters A to Z, digits, and blanks between them"),
        (" ACME", "has other characters than letters A to Z, digits, and blanks between them"),
        ("", "has other characters than letters A to Z, digits, and blanks between them"),
        ("8558", "has no letter: a number is no name"),
    ],
)
def test_any_other_name_is_refused_with_the_reason(sender_id: str, fault: str):
    assert fault in list(sender_id_faults(sender_id, RESERVED))


def test_a_registration_is_good_on_its_last_day_and_not_after():
    last = replace(SENDER, valid_until=TODAY)

    assert not last.has_expired(TODAY)
    assert last.has_expired(TODAY + timedelta(days=1))
    assert (last.days_left(TODAY), last.days_left(TODAY + timedelta(days=1))) == (0, -1)


@pytest.mark.parametrize(("days", "announced"), [(NOTICE_DAYS + 1, False), (NOTICE_DAYS, True), (0, True), (-1, True)])
def test_its_end_is_announced_a_month_before(days: int, announced: bool):
    assert replace(SENDER, valid_until=TODAY + timedelta(days=days)).expires_soon(TODAY) is announced


def test_one_without_an_end_never_ends():
    assert not SENDER.has_expired(date.max)
    assert not SENDER.expires_soon(date.max)
    assert SENDER.days_left(TODAY) is None
