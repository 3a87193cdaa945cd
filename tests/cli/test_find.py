"""``otp-service find``, as support uses it, on a real Valkey."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from support_caller import Caller
from support_cli import configured, run
from support_installation import NUMBER
from support_outbox import Scripted, Sender, dispatched, jobs_of, refused, report, timed_out

from otp_service.bootstrap import install
from otp_service.domain.verification import Delivery, DeliveryStatus, Status
from otp_service.services import number_history
from otp_service.services.explanations import SENTENCES, sentence
from otp_service.services.number_history import (
    DeliveryExplanation,
    ExplainedVerification,
    NumberHistory,
    VerificationHistory,
    Why,
)
from otp_service.settings import load_settings

MASK = "+92 ••• ••••567"
GATEWAYS = {"first": {"kind": "sandbox"}, "second": {"kind": "sandbox"}}
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


@pytest.fixture
def environ(valkey, tmp_path):
    return configured(tmp_path, valkey.url, gateways=GATEWAYS, routes=[{"gateways": ["first", "second"]}])


@pytest.fixture
def shop(environ):
    return Caller(install(load_settings(environ=environ)))


def sender(shop, *first, second=()):
    return Sender(shop, first=Scripted(*first), second=Scripted(*second))


def found(environ, number=NUMBER, *options):
    result = run("find", number, *options, environ=environ)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_support_sees_each_call_and_why_the_code_did_not_arrive(environ, shop):
    one = shop.start()
    sender(shop, refused("unavailable"), second=(refused("destination", "21211"),)).deliver()
    heading, names, first, second, why, end = found(environ).split("\n", 5)

    assert re.fullmatch(rf"{TIME}  {re.escape(MASK)}  {one}  pending  shop  login  PK  0 codes compared", heading)
    assert names == "Message\tTime\tChannel\tGateway\tChosen\tStatus\tRaw status\tReason\tReference\tDispatch"
    call = rf"{TIME}\tsms\t%s\tfailed\t-\t%s\t-\tdp_\w{{34}}"
    assert re.fullmatch(r"1\.1\t" + call % (r"first\tconfigured", "unavailable http 503"), first)
    assert re.fullmatch(r"1\.2\t" + call % (r"second\tfail_over", "destination 21211"), second)
    assert why == "→ The code was not sent: second says that this number does not work (destination 21211)."
    assert end == "\n"


def test_support_sees_what_a_gateway_reported_in_its_own_words(environ, shop):
    shop.start()
    (job,) = jobs_of(shop.context)
    made = dispatched(shop.context, job)
    report(shop.context, made, "undelivered", gateway=made.gateway, reason="30003", raw="UNDELIV")

    lines = found(environ).splitlines()
    assert "\tundelivered\tUNDELIV\t30003\t" in lines[2]
    assert lines[3] == '→ The code did not arrive: first reported "UNDELIV" (30003).'


def test_neither_a_code_nor_the_number_is_shown_however_it_ends(valkey, environ, shop):
    ids = [shop.start() for _ in range(3)]
    sender(shop, refused("unavailable"), timed_out(), second=(timed_out(),)).deliver()
    shop.check(ids[0], shop.code(ids[0]))
    codes = [shop.code(one) for one in ids]
    for wait in (0, 1300):
        valkey.advance(wait)
        told = run("find", NUMBER, environ=environ).output
        assert told.count(MASK) == 3
        assert NUMBER[-7:] not in told
        assert not re.search(rf"\b({'|'.join(codes)})\b", told)


def test_what_has_no_record_any_more_is_told_from_the_events(valkey, environ, shop):
    one = shop.start()
    sender(shop, refused("unavailable"), second=(refused("rejected", "20003"),)).deliver()
    recorded = found(environ).splitlines()
    valkey.advance(1300)
    assert not valkey.client.keys("otp:{00}:v:*")

    assert found(environ).splitlines() == [recorded[0].replace("pending", "expired"), *recorded[1:]]
    assert one in recorded[0]


def test_the_verifications_of_all_applications_are_shown_in_a_national_spelling_too(environ, shop):
    shop.start()
    Caller(install(load_settings(environ=environ)), "bank").start()
    told = found(environ, "0300 1234567", "--region", "pk")

    assert re.findall(r"  pending  (\w+)", told) == ["bank", "shop"]


def test_a_number_without_a_past_is_told_in_a_sentence(environ, shop):
    result = run("find", NUMBER, environ=environ)

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith(f"No verification of {MASK} is stored. Refused starts are not listed")


def test_what_is_no_number_is_refused_in_a_sentence(environ):
    result = run("find", "12", environ=environ)

    assert (result.exit_code, result.output) == (1, "Error: A national number needs --region, such as --region PK.\n")


def test_support_is_warned_when_there_was_too_much_to_read(environ, shop, monkeypatch):
    shop.start()
    assert "too many events" not in run("find", NUMBER, environ=environ).stderr

    everything = number_history.find_number_history
    monkeypatch.setattr(
        number_history, "find_number_history", lambda *asked: replace(everything(*asked), complete=False)
    )
    assert "Warning: only the latest events were read" in run("find", NUMBER, environ=environ).stderr


def test_support_is_warned_when_the_ledger_is_away_and_told_what_redis_remembers(environ, shop):
    one = shop.start()
    ledger = Path(
        json.loads(Path(environ["OTP_SERVICE_CONFIG"]).read_text())["ledger"]["url"].removeprefix("sqlite:///")
    )
    assert "ledger" not in run("find", NUMBER, environ=environ).stderr

    ledger.rename(f"{ledger}.away")
    result = run("find", NUMBER, environ=environ)
    assert one in result.stdout
    assert "Warning: the ledger does not answer" in result.stderr


def test_what_redis_remembers_is_not_called_complete_while_the_ledger_is_away(environ, shop):
    one = shop.start()
    settings = json.loads(Path(environ["OTP_SERVICE_CONFIG"]).read_text())
    ledger = Path(settings["ledger"]["url"].removeprefix("sqlite:///"))

    def completes() -> list[bool]:
        found = [run("find", what, "--json", environ=environ).stdout for what in (NUMBER, one)]
        return [json.loads(text)["complete"] for text in found]

    assert completes() == [True, True]
    ledger.rename(f"{ledger}.away")
    assert completes() == [False, False]


def test_every_reason_has_a_sentence_of_its_own():
    assert set(SENTENCES) == set(Why)
    assert len({one.text for one in SENTENCES.values()}) == len(Why)


def delivery(status, gateway="first", reason=None, raw=None):
    return Delivery(1, 1, "sms", gateway, DeliveryStatus(status), 0, reason, raw_status=raw)


def told(why, about, *failures, status=Status.PENDING, reporting=("first",)):
    history = VerificationHistory("vf_1", "shop", "login", "PK", MASK, 0, status, 0, (about,) if about else ())
    case = ExplainedVerification(history, DeliveryExplanation(why, about, failures), {"first": None, "second": None})
    return str(sentence(case, NumberHistory((case,), complete=True, reporting=frozenset(reporting))))


@pytest.mark.parametrize(
    ("arguments", "members", "words"),
    [
        ((Why.DELIVERED, delivery("delivered")), {},
         "The code arrived: first reported at 1970-01-01 00:00:00 that the handset has it."),
        ((Why.CHECKED, None), {}, "The code arrived: it was typed, and it was right."),
        ((Why.TAKEN, delivery("sent")), {},
         "first took the message at 1970-01-01 00:00:00, and has not reported yet what became of it."),
        ((Why.TAKEN, delivery("sent")), {"status": Status.EXPIRED},
         "first took the message at 1970-01-01 00:00:00, and has never reported what became of it."),
        ((Why.TAKEN, delivery("sent")), {"reporting": ()},
         "first took the message at 1970-01-01 00:00:00, and is not asked to report what becomes of it."),
        ((Why.UNDELIVERED, delivery("undelivered", raw="UNDELIV")), {},
         'The code did not arrive: first reported "UNDELIV".'),
        ((Why.ALL_FAILED, delivery("failed"), delivery("failed", reason="unavailable a"),
          delivery("unknown", "second")), {},
         "The code was not sent: first failed (unavailable a) and second failed (unknown)."),
        ((Why.ALL_FAILED, delivery("failed", None)), {},
         "The code was not sent: no gateway was free to take the message while the code lived."),
        ((Why.BLOCKED, delivery("queued", None)), {},
         "The message waits: its gateways (first, second) cannot be used now (otp-service gateway status)."),
        ((Why.NO_ROUTE, delivery("failed", None, "no_route")), {},
         "The code was not sent: no gateway is configured that carries sms for login to PK."),
        ((Why.ENDED_FIRST, delivery("failed", None, "canceled")), {"status": Status.CANCELED},
         "The code was not sent: the verification had ended before (canceled)."),
        ((Why.FORGOTTEN, None), {"status": None},
         "What became of the code is no longer known: the events do not reach back so far."),
    ],
)  # fmt: skip
def test_a_sentence_says_who_when_and_why(arguments, members, words):
    assert told(*arguments, **members) == words


@pytest.mark.parametrize("why", Why)
def test_no_sentence_has_a_hole_whatever_is_not_known(why):
    for about in (delivery("queued", None), *([None] if why in {Why.CHECKED, Why.FORGOTTEN} else [])):
        assert not re.search(r"None|\(\)|  |\{", told(why, about, status=None))
