"""With the profile of Pakistan on: what goes out there, under which sender, and what is refused before a gateway."""

import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs
from support_caller import PAYMENT, Caller
from support_events import record_events
from support_installation import NUMBER, World
from support_outbox import Scripted, Sender, letters
from support_pakistan import CONSENT, EXAMPLE, pakistan

from otp_service.domain.inbound import Meaning
from otp_service.domain.messages import Message
from otp_service.errors import ConsentRequiredError, MessageNotAllowedError
from otp_service.gateways.base import InboundMessage, SupportsInbound
from otp_service.services.inbound import Reply, queue_reply, receive_message, send_replies
from otp_service.services.sender_registrations import RegistrationMonitor, today
from otp_service.telemetry import metrics
from otp_service.testing.provider import FakeProvider


@pytest.fixture
def gateway() -> Scripted:
    return Scripted()


@pytest.fixture
def shop(still_world: World) -> Caller:
    return pakistan(still_world)


def last_day(days: int) -> str:
    """Return a day so many after that on which the tests' clock begins."""
    return str(today() + timedelta(days=days))


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


def told(shop: Caller, one: str) -> list[tuple[str, str | None]]:
    return [(each.status, each.reason) for each in shop.read(one).verification.deliveries]


def delivered(shop: Caller, gateway: Scripted) -> Message:
    Sender(shop, sandbox=gateway).deliver()
    (message,) = gateway.sent
    return message


@pytest.mark.parametrize(
    ("locale", "language"), [("ur", "ur"), ("ur-PK", "ur"), ("en", "en"), ("en-GB", "en"), (None, "ur")]
)
def test_a_code_goes_out_in_urdu_and_in_english_under_the_registered_sender(
    shop: Caller, gateway: Scripted, locale: str | None, language: str
):
    shop.start(**CONSENT, locale=locale)
    message = delivered(shop, gateway)

    assert message.sender == "DEV SHOP"
    assert message.template
    assert message.template.id == f"{language}/possession/sms"


def test_a_payment_does_so_too(shop: Caller, gateway: Scripted):
    shop.start(**CONSENT, purpose="payment", transaction=PAYMENT)
    message = delivered(shop, gateway)

    assert (message.sender, message.template and message.template.id) == ("DEV SHOP", "ur/transaction/sms")


@pytest.mark.parametrize("locale", ["ar", "ur-Latn", "fr"])
def test_a_language_that_the_country_does_not_list_gives_way_to_the_applications(
    shop: Caller, gateway: Scripted, locale: str
):
    shop.start(**CONSENT, locale=locale)

    assert delivered(shop, gateway).locale == "ur"


def test_what_goes_out_is_the_approved_template_with_its_values_put_in(shop: Caller, gateway: Scripted):
    one = shop.start(**CONSENT, locale="en")
    message = delivered(shop, gateway)
    language = shop.context.templates.languages["en"]
    values = {
        "brand": "Dev Shop",
        "code": shop.code(one),
        "minutes": language.duration(5),
        "never_share": language.never_share,
    }

    assert message.text == language.texts["possession"].templates["sms"].fill(values)


def test_a_start_without_consent_is_refused(shop: Caller):
    with pytest.raises(ConsentRequiredError):
        shop.start()


def test_a_message_to_a_country_without_rules_names_no_sender_of_another(still_world: World, gateway: Scripted):
    shop = pakistan(still_world, applications={"dev": {"countries": ["PK", "GB"]}})
    shop.start("+447400123456", **CONSENT)

    assert delivered(shop, gateway).sender is None


@pytest.mark.parametrize(
    ("section", "entry", "violation"),
    [("senders", "dev", "sender-expired"), ("approvals", "login-ur", "approval-expired")],
)
def test_when_a_registration_ends_starts_are_refused_and_what_waits_is_given_up_before_a_gateway(
    still_world: World, gateway: Scripted, section: str, entry: str, violation: str
):
    midnight = datetime.combine(today() + timedelta(days=1), datetime.min.time(), UTC)
    still_world.advance(midnight.timestamp() - datetime.now(UTC).timestamp() - 60)
    shop = pakistan(still_world, **{section: {entry: {"valid_until": last_day(0)}}})
    one = shop.start(**CONSENT)
    still_world.advance(61)

    Sender(shop, sandbox=gateway).deliver()
    assert gateway.sent == []
    assert told(shop, one) == [("failed", violation)]
    assert letters(still_world.client) == [violation]
    with pytest.raises(MessageNotAllowedError, match=f"Messages to PK are not allowed: {violation}"):
        shop.start("+923001234569", **CONSENT)


def test_words_that_are_one_letter_off_are_given_up_before_a_gateway(shop: Caller, gateway: Scripted):
    one = shop.start(**CONSENT, locale="en")
    languages = shop.context.templates.languages
    english = languages["en"]
    off = replace(english, never_share=english.never_share.replace("e", "a", 1))
    changed = replace(shop.context.templates, languages={**languages, "en": off})
    shop.context = replace(shop.context, templates=changed)

    Sender(shop, sandbox=gateway).deliver()
    assert gateway.sent == []
    assert told(shop, one) == [("failed", "template-not-approved")]
    with pytest.raises(MessageNotAllowedError, match="template-not-approved"):
        shop.start("+923001234568", **CONSENT, locale="en")


def test_the_sandbox_shows_the_sender(shop: Caller):
    one = shop.start(**CONSENT)
    Sender(shop).deliver()
    (caught,) = shop.context.store.mailbox.messages("dev", one)

    assert caught.sender == "DEV SHOP"


REPLY = Reply("sandbox", "dev", NUMBER, "sms", "en", Meaning.STOP)


def test_a_reply_goes_out_in_approved_words_under_the_registered_sender(shop: Caller, gateway: Scripted):
    Sender(shop, sandbox=gateway)
    queue_reply(shop.context, REPLY)
    send_replies(shop.context)
    (message,) = gateway.sent

    assert (message.sender, message.template and message.template.id) == ("DEV SHOP", "en/reply-stop/sms")


def test_a_reply_whose_words_nobody_approved_does_not_go_out(still_world: World, gateway: Scripted):
    shop = pakistan(still_world, without=("approvals.stop-en",))
    Sender(shop, sandbox=gateway)
    queue_reply(shop.context, REPLY)
    with capture_logs() as logs:
        send_replies(shop.context)

    assert gateway.sent == []
    assert [log["outcome"] for log in logs] == ["template-not-approved"]


def test_a_reply_does_not_leave_through_a_gateway_that_shows_another_sender(still_world: World, gateway: Scripted):
    old = {"kind": "http", "url": "https://sms.example", "hosted_in": "PK"}
    routes = [{"countries": ["PK"], "gateways": ["sandbox"]}, {"gateways": ["old"]}]
    shop = pakistan(still_world, gateways={"old": old}, routes=routes)
    Sender(shop, old=gateway)
    queue_reply(shop.context, replace(REPLY, gateway="old"))
    with capture_logs() as logs:
        send_replies(shop.context)

    assert gateway.sent == []
    assert [log["outcome"] for log in logs] == ["sender-not-shown"]


def test_a_reply_that_the_providers_answer_could_carry_goes_under_the_registered_sender(
    still_world: World, gateway: Scripted
):
    twilio = {"kind": "twilio", "account_sid": "AC" + "0" * 32, "auth_token": "t-0f-test", "from": "+15005550006"}
    gateways = {"t": {**twilio, "hosted_in": "PK"}}
    shop = pakistan(still_world, without=("gateways.sandbox",), gateways=gateways)
    receiver = shop.context.gateways["t"]
    assert isinstance(receiver, SupportsInbound)
    shop.start(**CONSENT)
    Sender(shop, t=gateway).deliver()
    record_events(shop.context)
    answer = receive_message(shop.context, "t", receiver, InboundMessage("m1", NUMBER, "HELP"))
    assert answer
    assert "Dev Shop" not in answer.body

    Sender(shop, t=(sent := Scripted()))
    send_replies(shop.context)
    assert [message.sender for message in sent.sent] == ["DEV SHOP"]


@pytest.mark.parametrize(
    ("days", "event", "level"), [(30, "registration_ends", "warning"), (-1, "registration_ended", "error")]
)
def test_an_end_is_announced_once_a_day(still_world: World, days: int, event: str, level: str):
    shop = pakistan(still_world, senders={"dev": {"valid_until": last_day(days)}})
    announcer = RegistrationMonitor(shop.context.sending_rules)
    with capture_logs() as logs:
        announcer.check_daily()
        announcer.check_daily()
        still_world.advance(86_400)
        announcer.check_daily()

    line = {"registration": "dev", "country": "PK", "event": event, "log_level": level}
    assert logs == [{**line, "days": days}, {**line, "days": days - 1}]
    name = 'otp_service_registration_remaining_seconds{country="PK",registration="dev"} '
    shown = [line for line in metrics.exposition().decode().splitlines() if line.startswith(name)]
    assert [float(line.removeprefix(name)) for line in shown] == [86_400 * (days - 1)]


def test_one_that_left_the_configuration_is_told_no_more(still_world: World):
    ends = {"valid_until": last_day(9)}
    renewed = {**EXAMPLE["senders"]["dev"], **ends}
    RegistrationMonitor(pakistan(still_world, senders={"dev": ends}).context.sending_rules).check_daily()
    shop = pakistan(still_world, senders={"renewed": renewed}, without=("senders.dev",))
    RegistrationMonitor(shop.context.sending_rules).check_daily()

    told = re.findall(
        r'otp_service_registration_remaining_seconds{country="PK",registration="(\w+)"}', metrics.exposition().decode()
    )
    assert told == ["renewed"]


def test_one_that_lasts_longer_is_not_announced(still_world: World):
    shop = pakistan(still_world, senders={"dev": {"valid_until": last_day(31)}})
    with capture_logs() as logs:
        RegistrationMonitor(shop.context.sending_rules).check_daily()

    assert logs == []


def test_the_service_connects_to_nothing_but_what_is_configured(
    still_world: World, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    form = {"to": "{to_plain}", "from": "{sender}", "text": "{text}"}
    local = {"kind": "http", "url": provider.url, "sender": "Dev", "form": form, "hosted_in": "PK"}
    shop = pakistan(still_world, without=("gateways.sandbox",), gateways={"local": local})
    reached, connect = set(), socket.socket.connect

    def noted(one: socket.socket, address: Any) -> None:
        reached.add(address)
        connect(one, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    still_world.client.connection_pool.disconnect()
    one = shop.start(**CONSENT)
    Sender(shop).deliver()

    assert told(shop, one) == [("sent", None)]
    assert provider.received[0].form["from"] == "DEV SHOP"
    configured = {urlsplit(url).port for url in (still_world.url, provider.url)}
    assert reached == {("127.0.0.1", port) for port in configured}
