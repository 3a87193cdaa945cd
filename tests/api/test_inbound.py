"""What people write back, as providers pass it on: proven, obeyed at once for the right application, answered once."""

import hmac
import json
import re
import secrets
import time
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from support_api import START, Api, code_of
from support_events import record_events
from support_installation import BANK_KEY, NUMBER, World
from twilio.request_validator import RequestValidator
from werkzeug.test import TestResponse

from otp_service.domain.consents import EVERY_APPLICATION, Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import LedgerUnavailableError
from otp_service.gateways.base import GatewayError
from otp_service.ledger.consents import Suppressions
from otp_service.ledger.verifications import Inbound
from otp_service.services import inbound
from otp_service.services.inbound import inbound_url
from otp_service.services.subjects import freeze
from otp_service.store import keys
from otp_service.store.verifications import Verifications
from otp_service.telemetry import metrics
from otp_service.testing.provider import FakeProvider
from otp_service.testing.samples import CannedResponse

PUBLIC = "https://otp.example/base"
SECRET = "receipts-of-the-test"
TOKEN = "0123456789abcdef0123456789abcdef"
SANDBOX = {"kind": "sandbox", "receipt_secret": SECRET}
STRANGER = "+923009999999"


def path_of(api: Api, gateway: str) -> str:
    """Return where a gateway's provider passes messages on to."""
    return inbound_url(api.installation.context, gateway).removeprefix(PUBLIC)


class Phone:
    """A handset that writes back through the sandbox, and an application of the two there are."""

    def __init__(self, world: World, **sections: object) -> None:
        self.shop = Api(world, http={"public_url": PUBLIC}, gateways={"sandbox": SANDBOX}, **sections)
        self.bank = Api.__new__(Api)
        self.bank.__dict__ = {**self.shop.__dict__, "key": BANK_KEY}
        self.context = self.shop.installation.context
        self.path = path_of(self.shop, "sandbox")

    def reads(self, api: Api, to: str = NUMBER, **members: object) -> str:
        """Start a verification, and let its message arrive."""
        one = api.start(to, **members)
        api.deliver()
        return one

    def writes(self, text: str, sender: str = NUMBER, **members: str) -> TestResponse:
        """Send a message, with a name that no other one has unless it is given."""
        document = {"id": secrets.token_hex(8), "from": sender, "text": text, **members}
        return self.passes_on(json.dumps(document).encode())

    def passes_on(self, body: bytes, signature: str | None = None) -> TestResponse:
        signed = hmac.digest(SECRET.encode(), f"{PUBLIC}{self.path}".encode() + b"\n" + body, "sha256").hex()
        headers = {"X-Sandbox-Signature": signed if signature is None else signature}
        return self.shop.client.post(self.path, data=body, headers=headers)

    def answers(self) -> list[str]:
        """Let a worker send the replies that wait; return all that the sandbox caught beside codes."""
        inbound.send_replies(self.context)
        caught = [one for name in ("shop", "bank") for one in self.context.store.mailbox.messages(name, None)]
        return [one.text for one in caught if not re.search(r"\d{6}", one.text)]

    def rows(self, sender: str = NUMBER) -> list[tuple[str, str, str]]:
        """Return what the ledger keeps of messages from a number: application, gateway, meaning."""
        held = self.context.ledger.subjects.export(self.context.keyring.pseudonym(sender), None)
        return [(one["application"], one["gateway"], one["meaning"]) for one in held.inbound]

    def suppressions(self, sender: str = NUMBER) -> list[tuple[str, str, str, bool]]:
        entries = self.context.ledger.suppressions.of(self.context.keyring.pseudonym(sender))
        return [(one.application, one.scope, one.source, one.lifted) for one in entries]


@pytest.fixture
def phone(world: World) -> Phone:
    return Phone(world)


def begins(api: Api, to: str = NUMBER) -> tuple[int, str | None]:
    """Start a verification; return the status, and the code of the error if it is one."""
    answer = api.post(START, {"to": to})
    return answer.status_code, answer.json.get("code")


SUPPRESSED = (403, "recipient-suppressed")


# --- stop, start, help ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "stop",
        " Stop.",
        "ＳＴＯＰ",
        "رکیں",
        "\u202bبند کریں\u202c",
        "bnd kro",
        "إيقاف",
        "STOP OTP",
        "Stop\n-- \nAli Khan",
    ],
)
def test_who_writes_stop_gets_no_more_messages_and_one_confirmation(phone, text):
    phone.reads(phone.shop)
    answer = phone.writes(text)

    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers
    assert begins(phone.shop) == SUPPRESSED
    assert phone.answers() == ["You get no more messages from Acme Shop. Send START to get them again."]
    assert phone.rows() == [("shop", "sandbox", "stop")]
    assert phone.suppressions() == [("shop", "all", "inbound", False)]


@pytest.mark.parametrize("text", ["don't stop", "please don't stop", "yes", "", "🛑", "123456"])
def test_who_writes_anything_else_changes_nothing(phone, text):
    phone.reads(phone.shop)

    assert phone.writes(text).status_code == 204
    assert begins(phone.shop)[0] == 201
    assert (phone.answers(), phone.suppressions()) == ([], [])
    assert phone.rows() == [("shop", "sandbox", "other")]


def test_stop_keeps_a_message_back_that_is_queued_already(phone):
    phone.reads(phone.shop)
    queued = phone.shop.start()
    phone.writes("STOP")
    phone.shop.deliver()

    assert phone.context.store.mailbox.messages("shop", queued) == []
    assert phone.shop.get(f"{START}/{queued}").json["deliveries"][0]["reason"] == "suppressed"


def test_stop_is_for_the_application_that_wrote_last_and_no_other(phone):
    phone.reads(phone.shop)
    phone.reads(phone.bank)
    phone.writes("STOP")

    assert begins(phone.bank) == SUPPRESSED
    assert begins(phone.shop)[0] == 201
    assert phone.answers() == ["You get no more messages from Acme Bank. Send START to get them again."]


def test_a_message_of_another_application_that_is_queued_still_arrives(phone):
    phone.reads(phone.shop)
    of_the_bank, of_the_shop = phone.bank.start(), phone.shop.start()
    phone.writes("STOP")
    phone.bank.deliver()

    assert len(phone.context.store.mailbox.messages("bank", of_the_bank)) == 1
    assert phone.context.store.mailbox.messages("shop", of_the_shop) == []


def test_who_wrote_last_is_told_by_the_message_and_not_by_the_start(phone, monkeypatch):
    early = phone.reads(phone.shop)
    phone.reads(phone.bank)
    read = Verifications.read
    monkeypatch.setattr(Verifications, "read", lambda *args: _later(read(*args)) if args[2] == early else read(*args))
    phone.writes("STOP")

    assert begins(phone.shop) == SUPPRESSED
    assert begins(phone.bank)[0] == 201


def _later(verification):
    """Return a verification whose message went out ten minutes later, as after a resend."""
    (delivery,) = verification.deliveries
    object.__setattr__(delivery, "begun", delivery.begun + 600_000)
    return verification


def test_start_lets_messages_through_again_and_is_not_answered(phone):
    phone.reads(phone.shop)
    phone.writes("STOP")
    phone.writes("Start")

    assert begins(phone.shop)[0] == 201
    assert len(phone.answers()) == 1
    assert [lifted for *_, lifted in phone.suppressions()] == [False, True]


def test_start_of_somebody_who_never_wrote_stop_records_nothing_but_the_message(phone):
    phone.reads(phone.shop)
    phone.writes("START")

    assert phone.suppressions() == []
    assert phone.rows() == [("shop", "sandbox", "start")]


def test_start_lifts_nothing_that_an_operator_said_of_all_applications(phone):
    phone.reads(phone.shop)
    pseudonym = phone.context.keyring.pseudonym(NUMBER)
    phone.context.ledger.suppressions.add([_by_operator(pseudonym)])
    phone.context.mirror_sync.refresh()
    phone.writes("START")

    assert begins(phone.shop) == SUPPRESSED


def _by_operator(pseudonym):
    return Suppression(pseudonym, EVERY_APPLICATION, SuppressionScope.ALL, SuppressionSource.OPERATOR)


def agreed(seconds: float) -> dict[str, object]:
    """Return a consent that was given some seconds ago."""
    given = datetime.now(UTC) - timedelta(seconds=seconds)
    return {"text_version": "2026-11", "text_sha256": "9f" * 32, "locale": "ur-PK", "channel": "web", "source": "app",
            "given_at": given.isoformat(timespec="milliseconds").replace("+00:00", "Z")}  # fmt: skip


def lifts(phone: Phone, **members: object) -> tuple[int, str | None]:
    answer = phone.shop.post("/v1/suppressions/lift", {"to": NUMBER, **members})
    return answer.status_code, answer.json.get("code")


def test_an_application_lifts_what_the_person_said_only_with_a_consent_that_is_newer(phone):
    old, ahead = agreed(60), agreed(-100)
    phone.reads(phone.shop, consent=old)
    assert phone.shop.call("PUT", "/v1/consents", json={"to": NUMBER, **ahead}).status_code == 200
    phone.writes("STOP")
    time.sleep(0.01)

    assert lifts(phone) == (422, "consent-required")
    assert lifts(phone, consent=old) == lifts(phone, consent=ahead) == (422, "consent-outdated")
    assert lifts(phone, consent=ahead, purpose="payment") == (422, "consent-outdated"), "for another purpose"
    assert lifts(phone, scope="marketing_only")[0] == 200
    assert begins(phone.shop) == SUPPRESSED
    assert lifts(phone, consent=agreed(-101))[0] == 200
    assert begins(phone.shop)[0] == 201
    held = phone.shop.post("/v1/consents/find", {"to": NUMBER}).json["entries"]
    assert len(held) == 2, "what shows it is kept"


def test_what_the_application_says_too_does_not_let_it_lift_what_the_person_said(phone):
    phone.reads(phone.shop)
    phone.shop.call("PUT", "/v1/suppressions", json={"to": NUMBER})
    assert lifts(phone)[0] == 200
    phone.writes("STOP")
    phone.shop.call("PUT", "/v1/suppressions", json={"to": NUMBER})

    assert lifts(phone) == (422, "consent-required")
    assert begins(phone.shop) == SUPPRESSED


def test_a_consent_to_what_the_application_has_not_lifts_nothing(phone):
    phone.reads(phone.shop)
    phone.writes("STOP")
    time.sleep(0.01)

    assert lifts(phone, consent=agreed(0), purpose="other") == (403, "forbidden")
    assert lifts(phone, consent=agreed(-3600)) == (422, "invalid-time")
    assert begins(phone.shop) == SUPPRESSED


def test_help_is_answered_and_changes_nothing(phone):
    phone.reads(phone.shop)
    phone.writes("HELP")

    assert phone.answers() == ["Acme Shop sends a code when your number is entered there. Send STOP to get none."]
    assert begins(phone.shop)[0] == 201
    assert phone.suppressions() == []


def test_an_answer_is_in_the_language_of_the_last_message(phone):
    phone.reads(phone.shop, locale="ur-PK")
    phone.writes("STOP")
    (text,) = phone.answers()

    assert text.startswith("اب Acme Shop")


def test_further_words_are_those_of_the_configuration(world):
    phone = Phone(world, inbound={"stop": ["Arrêt"], "replies": []})
    phone.reads(phone.shop)
    phone.writes("ARRET")

    assert begins(phone.shop) == SUPPRESSED
    assert phone.answers() == []


def test_a_stop_is_recorded_while_every_start_is_refused(phone):
    phone.reads(phone.shop)
    phone.context.store.mirror.close()

    assert phone.shop.client.get("/readyz").status_code == 503
    assert code_of(phone.writes("STOP")) == (503, "ledger-mismatch"), "it is not in force here: send it again"
    assert phone.suppressions() == [("shop", "all", "inbound", False)]


# --- once ----------------------------------------------------------------------------------------------------


def test_a_repeated_message_counts_once_and_is_not_obeyed_again(phone):
    phone.reads(phone.shop)
    for _ in range(3):
        assert phone.writes("STOP", id="in-1" + TOKEN).status_code == 204
    assert len(phone.suppressions()) == 1
    assert phone.rows() == [("shop", "sandbox", "stop")]
    assert len(phone.answers()) == 1

    phone.writes("START")
    phone.writes("STOP", id="in-1" + TOKEN)
    assert begins(phone.shop)[0] == 201


def test_two_gateways_may_call_different_messages_alike(world):
    both = {"sandbox": SANDBOX, "second": SANDBOX}
    phone = Phone(world)
    phone.shop = Api(world, http={"public_url": PUBLIC}, gateways=both, keys=_keys(phone.shop))
    phone.context = phone.shop.installation.context
    reference = secrets.token_hex(8)
    for gateway in both:
        body = json.dumps({"id": reference, "from": NUMBER, "text": "hello"}).encode()
        url = PUBLIC + path_of(phone.shop, gateway)
        headers = {"X-Sandbox-Signature": hmac.digest(SECRET.encode(), url.encode() + b"\n" + body, "sha256").hex()}
        assert phone.shop.client.post(url.removeprefix(PUBLIC), data=body, headers=headers).status_code == 204

    assert [gateway for _, gateway, _ in phone.rows()] == ["sandbox", "second"]


def _keys(api: Api) -> dict[str, str]:
    keys = api.installation.settings.keys
    return {"root": keys.root.get_secret_value(), "pseudonym": keys.pseudonym.get_secret_value()}


def test_a_second_stop_within_a_day_is_obeyed_and_not_answered(phone):
    phone.reads(phone.shop)
    phone.writes("STOP")
    phone.writes("START")
    phone.writes("stop!")

    assert begins(phone.shop) == SUPPRESSED
    assert len(phone.answers()) == 1


def test_a_stop_after_a_help_is_answered_too_and_neither_a_second_time(phone):
    phone.reads(phone.shop)
    for text in ("HELP", "STOP", "INFO", "QUIT"):
        phone.writes(text)

    assert len(phone.answers()) == 2


def test_a_day_later_a_stop_is_answered_again(still_world):
    phone = Phone(still_world)
    phone.reads(phone.shop)
    phone.writes("STOP")
    phone.writes("START")
    still_world.advance(24 * 3600 + 1)
    phone.reads(phone.shop)
    phone.writes("STOP")
    phone.writes("STOP")

    assert len(phone.context.store.mailbox.messages("shop", None)) == 1
    assert len(phone.answers()) == 1


def test_an_answer_that_no_worker_took_in_time_is_not_sent(still_world):
    phone = Phone(still_world)
    phone.reads(phone.shop)
    phone.writes("STOP")
    still_world.advance(601)

    assert inbound.send_replies(phone.context) == 0


@pytest.mark.parametrize("when", ["before it is written", "while it waits"])
def test_who_is_frozen_gets_no_reply_and_is_obeyed_all_the_same(phone, when):
    phone.reads(phone.shop)
    if when == "while it waits":
        phone.writes("STOP")
    assert phone.shop.post("/v1/subjects/freeze", {"to": NUMBER}).status_code == 200
    if when == "before it is written":
        phone.writes("STOP")
    phone.writes("HELP")

    assert phone.answers() == []
    assert b'outcome="frozen"' in metrics.exposition()
    assert phone.suppressions()[-1][1:] in {("all", "inbound", False), ("frozen", "api", False)}
    assert len(phone.rows()) == 2


@pytest.mark.parametrize("everywhere", [False, True])
def test_who_is_frozen_for_another_application_gets_the_reply_of_this_one(phone, everywhere):
    phone.reads(phone.shop)
    to = subject_key(phone.context.keyring, parse_destination(NUMBER, None))
    freeze(phone.context, to, EVERY_APPLICATION if everywhere else "bank", SuppressionSource.OPERATOR)
    phone.writes("HELP")

    assert len(phone.answers()) == (not everywhere)


def test_while_it_cannot_be_told_who_is_frozen_no_reply_goes_out(phone, monkeypatch):
    phone.reads(phone.shop)
    phone.writes("HELP")

    def away(*_: object) -> None:
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(Suppressions, "of", away)

    assert inbound.send_replies(phone.context) == 1
    assert phone.answers() == []


def test_a_reply_is_lost_rather_than_sent_twice(phone, monkeypatch):
    phone.reads(phone.shop)
    phone.writes("STOP")
    calls = []

    def fails(message):
        calls.append(message)
        raise GatewayError("unavailable", "timeout", ambiguous=True)

    monkeypatch.setattr(phone.context.gateways["sandbox"], "send", fails)
    assert inbound.send_replies(phone.context) == 1
    assert inbound.send_replies(phone.context) == 0
    assert len(calls) == 1
    assert phone.writes("STOP").status_code == 204
    assert inbound.send_replies(phone.context) == 0


def test_a_process_that_ends_before_the_message_is_recorded_has_obeyed_it(phone, monkeypatch):
    phone.reads(phone.shop)
    message = {"id": "in-2" + TOKEN}

    def ends(*_):
        raise LedgerUnavailableError("away")

    with monkeypatch.context() as world:
        world.setattr(Inbound, "record", ends)
        assert code_of(phone.writes("STOP", **message)) == (503, "ledger-unavailable")
    assert begins(phone.shop) == SUPPRESSED
    assert (phone.rows(), phone.answers()) == ([], [])

    assert phone.writes("STOP", **message).status_code == 204
    assert phone.rows() == [("shop", "sandbox", "stop")]
    assert len(phone.answers()) == 1


def test_a_message_that_the_ledger_does_not_take_has_to_come_again(phone, monkeypatch):
    phone.reads(phone.shop)

    def away(*_):
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(type(phone.context.ledger.suppressions), "add", away)
    assert code_of(phone.writes("STOP")) == (503, "ledger-unavailable")
    assert phone.rows() == []


# --- whose message it answers --------------------------------------------------------------------------------


def test_a_message_from_an_unknown_number_is_recorded_and_suppresses_nothing(phone, log: StringIO):
    phone.reads(phone.shop)
    answer = phone.writes("STOP", STRANGER)

    assert answer.status_code == 204
    assert phone.rows(STRANGER) == [("", "sandbox", "stop")]
    assert (phone.suppressions(STRANGER), phone.answers()) == ([], [])
    assert begins(phone.shop, STRANGER)[0] == 201
    assert begins(phone.shop)[0] == 201
    (line,) = [json.loads(line) for line in log.getvalue().splitlines() if "inbound_message_to_nobody" in line]
    assert (line["level"], line["gateway"], line["meaning"]) == ("warning", "sandbox", "stop")


def test_a_message_through_a_gateway_that_never_wrote_there_answers_nobody(world):
    both = {"sandbox": SANDBOX, "second": SANDBOX}
    phone = Phone(world)
    phone.shop = Api(
        world, http={"public_url": PUBLIC}, gateways=both, keys=_keys(phone.shop), routes=[{"gateways": ["second"]}]
    )
    phone.context = phone.shop.installation.context
    phone.reads(phone.shop)
    phone.writes("STOP")

    assert phone.rows() == [("", "sandbox", "stop")]
    assert begins(phone.shop)[0] == 201


def test_weeks_later_the_ledger_knows_who_wrote(phone):
    phone.reads(phone.shop)
    phone.reads(phone.bank)
    record_events(phone.context)
    for name in phone.shop.keys():
        if b":number:" in name or b":v:" in name:
            phone.shop.world.client.delete(name)
    phone.writes("STOP")

    assert begins(phone.bank) == SUPPRESSED
    assert begins(phone.shop)[0] == 201


@pytest.mark.parametrize("sender", ["", "Acme", "8888", "+1", "+923001234567890123", "’", "\x00", "messenger:12345"])
def test_from_no_number_it_is_taken_and_forgotten(phone, sender, log: StringIO):
    phone.reads(phone.shop)

    assert phone.writes("STOP", sender).status_code == 204
    assert begins(phone.shop)[0] == 201
    assert "inbound_without_number" in log.getvalue()


@pytest.mark.parametrize(
    "sender", ["923001234567", "+923001234567", "00923001234567", "+92 300 1234567", "03001234567"]
)
def test_a_sender_is_known_in_any_spelling(world, sender):
    phone = Phone(world, inbound={"region": "PK"})
    phone.reads(phone.shop)
    phone.writes("STOP", sender)

    assert begins(phone.shop) == SUPPRESSED


def test_neither_number_nor_text_is_logged_or_kept(phone, log: StringIO):
    phone.reads(phone.shop)
    phone.writes("my secret is 4711-Rumpelstilzchen")
    phone.writes("STOP")
    written = re.sub(r'"(timestamp|request_id)": "[^"]*"', "", log.getvalue())  # which may have these digits
    client = phone.shop.world.client
    kept = b"".join([*client.scan_iter("otp:*repl*"), *client.lrange(keys.REPLIES, 0, -1)])

    assert "inbound_message" in written
    for private in ("3001234567", "Rumpelstilzchen", "4711"):
        assert private not in written
        assert private.encode() not in kept
    assert b"otp:replies" in kept


# --- over the wire -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", ["", "0" * 64, "é"])
def test_a_forged_message_is_refused(phone, signature):
    phone.reads(phone.shop)
    body = json.dumps({"id": "x", "from": NUMBER, "text": "STOP"}).encode()

    assert code_of(phone.passes_on(body, signature)) == (401, "unauthenticated")
    assert begins(phone.shop)[0] == 201
    assert phone.rows() == []


@pytest.mark.parametrize("body", [b"\xff\xfe", b"&&&=;=%zz", b"a=%ff", b"[" * 5000, b"", b"null"])
def test_no_message_is_a_failure_of_ours(phone, body):
    assert phone.passes_on(body).status_code == 204
    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data", "text/xml", ""):
        answer = phone.shop.client.post(phone.path, data=body, headers={"Content-Type": content_type})
        assert code_of(answer) == (401, "unauthenticated")


def test_a_message_has_a_bound_of_its_own(phone):
    assert code_of(phone.passes_on(b" " * (64 * 1024 + 1))) == (413, "body-too-large")


def test_there_are_none_where_no_provider_can_reach_us_and_for_no_other_gateway(world, api):
    assert code_of(api.client.post(path_of(api, "sandbox"))) == (404, "not-found")
    deaf = Api(world, http={"public_url": PUBLIC}, gateways={"plain": {"kind": "console"}})
    for name in ("plain", "unknown", "é", "*"):
        assert code_of(deaf.client.post(path_of(deaf, name))) == (404, "not-found")


def test_who_was_not_told_the_address_gets_no_further_than_that(phone):
    body = json.dumps({"id": "1", "from": NUMBER, "text": "STOP"}).encode()
    token = phone.path.rpartition("/")[2]
    for wrong in ("", token[:-1], token + "A", token.swapcase(), phone.context.keyring.address_token("other"), "é"):
        path = f"/v1/inbound/sandbox/{wrong}"
        signed = hmac.digest(SECRET.encode(), f"{PUBLIC}{path}".encode() + b"\n" + body, "sha256").hex()
        answer = phone.shop.client.post(path, data=body, headers={"X-Sandbox-Signature": signed})
        assert code_of(answer) == (404, "not-found")
    assert begins(phone.shop)[0] == 201


def test_a_look_at_the_address_is_no_message(phone):
    for method in ("HEAD", "PUT", "DELETE"):
        answer = phone.shop.client.open(phone.path, method=method)
        assert answer.status_code == 405
        assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))


# --- Twilio --------------------------------------------------------------------------------------------------


@pytest.fixture
def twilio(world: World, monkeypatch: pytest.MonkeyPatch):
    """A shop whose messages go through Twilio."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FakeProvider() as provider:
        provider.response = CannedResponse(status=201, body='{"sid": "SM1"}')
        account = {"account_sid": "AC" + "0" * 32, "auth_token": TOKEN, "from": "+15005550006"}
        gateways = {"twilio": {"kind": "twilio", "base_url": provider.url, **account}}
        api = Api(world, http={"public_url": PUBLIC}, gateways=gateways, routes=[{"gateways": ["twilio"]}])
        api.start()
        api.deliver()
        yield api


def by_twilio(api: Api, *, forged: bool = False, **members: str) -> TestResponse:
    form = {"MessageSid": f"SM{secrets.token_hex(16)}", "From": NUMBER, "To": "+15005550006", "Body": "", **members}
    signature = RequestValidator(TOKEN).compute_signature(PUBLIC + path_of(api, "twilio"), form)
    sent = {**form, "Body": "START"} if forged else form
    return api.client.post(path_of(api, "twilio"), data=sent, headers={"X-Twilio-Signature": signature})


def told(answer: TestResponse) -> list[str]:
    """Return what an answer has Twilio send."""
    assert (answer.status_code, answer.mimetype) == (200, "text/xml")
    document = ET.fromstring(answer.data)  # noqa: S314 - our own
    assert document.tag == "Response"
    return [message.text for message in document.findall("Message")]


def test_twilio_is_answered_with_the_confirmation(twilio):
    assert told(by_twilio(twilio, Body="Stop.")) == [
        "You get no more messages from Acme Shop. Send START to get them again."
    ]
    assert begins(twilio) == SUPPRESSED
    assert told(by_twilio(twilio, Body="Stop.")) == []
    assert told(by_twilio(twilio, Body="START")) == []
    assert begins(twilio)[0] == 201
    assert inbound.send_replies(twilio.installation.context) == 0


def test_twilio_is_answered_with_nothing_for_a_number_that_is_frozen(twilio):
    assert twilio.post("/v1/subjects/freeze", {"to": NUMBER}).status_code == 200

    assert told(by_twilio(twilio, Body="Stop.")) == []
    assert inbound.send_replies(twilio.installation.context) == 0


def test_what_twilio_has_answered_itself_is_not_answered_again(twilio):
    assert told(by_twilio(twilio, Body="arrêt", OptOutType="STOP")) == []
    assert begins(twilio) == SUPPRESSED
    assert told(by_twilio(twilio, Body="HELP", OptOutType="HELP")) == []
    assert told(by_twilio(twilio, Body="oui", OptOutType="START")) == []
    assert begins(twilio)[0] == 201


def test_a_message_that_twilio_did_not_sign_changes_nothing(twilio):
    by_twilio(twilio, Body="STOP")

    assert code_of(by_twilio(twilio, Body="hello", forged=True)) == (401, "unauthenticated")
    assert begins(twilio) == SUPPRESSED


def test_a_message_through_twilio_that_comes_again_is_answered_with_nothing(twilio):
    sid = f"SM{secrets.token_hex(16)}"

    assert len(told(by_twilio(twilio, Body="STOP", MessageSid=sid))) == 1
    assert told(by_twilio(twilio, Body="STOP", MessageSid=sid)) == []


# --- a provider that is described by configuration ---------------------------------------------------------------


def kannel(world: World, provider: FakeProvider, *, reply: bool) -> tuple[Api, str]:
    """Return a shop behind a Kannel, and what its address ends with."""
    told = {"query": "from"}, {"query": "text"}, {"query": "id"}
    section = dict(zip(("from", "text", "reference"), told, strict=True)) | {
        "secret": "sixteen characters",
        "reply": reply,
    }
    gateway = {"kind": "http", "url": provider.url, "query": {"to": "{to}", "text": "{text}"}, "inbound": section}
    api = Api(world, http={"public_url": PUBLIC}, gateways={"kannel": gateway}, routes=[{"gateways": ["kannel"]}])
    api.start()
    api.deliver()
    address = api.installation.context.gateways["kannel"].sign_inbound_url(PUBLIC + path_of(api, "kannel"))
    return api, address.removeprefix(PUBLIC)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FakeProvider() as provider:
        yield provider


def test_kannel_sends_what_it_is_answered(world, provider):
    api, address = kannel(world, provider, reply=True)
    answer = api.client.get(f"{address}&from=%2B923001234567&text=stop&id={secrets.token_hex(8)}")

    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    assert answer.text == "You get no more messages from Acme Shop. Send START to get them again."
    assert begins(api) == SUPPRESSED
    assert len(provider.received) == 1


def test_a_provider_that_sends_no_answers_is_given_the_reply_as_a_message(world, provider):
    api, address = kannel(world, provider, reply=False)
    answer = api.client.get(f"{address}&from=923001234567&text=stop&id={secrets.token_hex(8)}")

    assert (answer.status_code, answer.text) == (200, "")
    assert inbound.send_replies(api.installation.context) == 1
    assert provider.received[-1].query["text"].startswith("You get no more messages from Acme Shop")
    assert len(provider.received) == 2


def test_a_wrong_token_or_none_is_refused(world, provider):
    api, address = kannel(world, provider, reply=True)
    other = "0" if address[-1] != "0" else "1"
    for path in (f"{path_of(api, 'kannel')}?", f"{address[:-1]}{other}", f"{address}&token=0"):
        answer = api.client.get(f"{path}&from=%2B923001234567&text=stop")
        assert code_of(answer) == (401, "unauthenticated")
    assert begins(api)[0] == 201
