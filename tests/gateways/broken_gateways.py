# ruff: noqa: ARG002, D106 - they are bad gateways
"""Gateways that break one promise each, and the test of the contract suite that has to notice.

Not collected with the other tests: ``test_suite_notices.py`` runs it, and expects these failures.
"""

import json
import logging
import re
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar

import pytest
import requests
from pydantic import ConfigDict
from test_contract import SAMPLES, STRANGER, XmlGateway, strangers_gateway

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways import base
from otp_service.gateways.base import Accepted, FailureKind, GatewayError, GatewaySettings, Receipt
from otp_service.gateways.http import HttpGateway
from otp_service.gateways.sandbox import SandboxGateway
from otp_service.gateways.twilio import TwilioGateway
from otp_service.gateways.vonage import VonageGateway
from otp_service.testing.samples import CODE, MESSAGE, OTHER_CODE
from otp_service.testing.suite import GatewayContract

Acme = strangers_gateway()
EXCHANGE = "test_an_exchange_goes_as_sampled"
ECHO = "test_an_answer_that_repeats_the_request_gives_nothing_away"
TIME_OUT = "test_a_time_out_is_unavailable_ambiguous_and_in_time"
REFUSED = "test_a_refused_connection_is_unavailable_and_not_ambiguous"
SERVER_ERROR = "test_a_server_error_is_not_taken_for_an_outage"
LOST = "test_a_connection_lost_after_the_request_is_unavailable_and_ambiguous"
EXPECTED: dict[str, set[str]] = {}
"""The tests that have to fail, by suite."""


class TestUnbroken(GatewayContract):
    gateway_class = Acme
    samples = STRANGER / "samples" / "acme.toml"


class TestUnbrokenReports(GatewayContract):
    gateway_class = SandboxGateway
    samples = SAMPLES / "sandbox.toml"


class TestUnbrokenHttp(GatewayContract):
    gateway_class = HttpGateway
    samples = SAMPLES / "http.toml"


class TestUnbrokenTwilio(GatewayContract):
    gateway_class = TwilioGateway
    samples = SAMPLES / "twilio.toml"


class TestUnbrokenVonage(GatewayContract):
    gateway_class = VonageGateway
    samples = SAMPLES / "vonage.toml"


class TestUnbrokenXml(GatewayContract):
    gateway_class = XmlGateway
    samples = SAMPLES / "acme-xml.toml"


def breaks(*tests, suite=TestUnbroken, **members):
    """Make a suite of the decorated gateway, and expect these tests to fail."""

    def decorate(gateway):
        name = f"Test{gateway.__name__}"
        EXPECTED[name] = set(tests)
        globals()[name] = type(name, (suite,), {"gateway_class": gateway, **members})
        return gateway

    return decorate


class OnItsOwn(Acme):
    """Calls without `Wire`, as a careless gateway does."""

    options: ClassVar = {"allow_redirects": False}

    def send(self, message):
        settings = self.settings
        answer = self.call(
            f"{settings.base_url}/sms",
            headers={"Authorization": f"Bearer {settings.token.get_secret_value()}"},
            json={"to": message.to, "from": settings.sender, "text": message.text, "ttl": message.expires_in},
            **{"timeout": settings.timeout, **self.options},
        )
        known = {202: "accepted", 400: FailureKind.DESTINATION, 503: FailureKind.UNAVAILABLE}.get(
            answer.status_code, FailureKind.ERROR
        )
        if known == "accepted":
            return Accepted("msg-1")
        raise GatewayError(known, str(answer.status_code))

    def call(self, url, **request):
        try:
            return requests.post(url, **request)  # noqa: S113 - some have none
        except requests.ConnectTimeout:
            pass
        except requests.Timeout:
            raise GatewayError(FailureKind.UNAVAILABLE, "timeout", ambiguous=True) from None
        except requests.ConnectionError as error:
            refused = "refused" in str(error)
        raise GatewayError(FailureKind.UNAVAILABLE, "connection", ambiguous=not refused)


@breaks(EXCHANGE)
class LogsTheNumber(Acme):
    def send(self, message):
        logging.getLogger("acme").debug("sending to %s", message.to)
        return super().send(message)


@breaks(EXCHANGE)
class PrintsTheText(Acme):
    def send(self, message):
        print(message.text)  # noqa: T201
        return super().send(message)


@breaks(EXCHANGE, ECHO)
class LetsTheLibraryLogItsUrl(Acme):
    def send(self, message):
        with suppress(requests.RequestException):
            requests.get(f"{self.settings.base_url}/sms?to={message.to}", timeout=0.1)
        return super().send(message)


@breaks(ECHO)
class TellsTheProvidersWords(Acme):
    def send(self, message):
        call, answers = self.http_client.call, []
        self.http_client.call = lambda request: answers.append(call(request)) or answers[0]
        try:
            return super().send(message)
        except GatewayError as failure:
            raise GatewayError(failure.kind, answers[0].text) from None


@breaks(TIME_OUT)
class TimesEachReadOnly(OnItsOwn):
    pass


@breaks(TIME_OUT, "test_an_answer_without_end_is_cut_off")
class HasNoTimeOut(OnItsOwn):
    options: ClassVar = {"timeout": 3, "allow_redirects": False}


@breaks("test_it_follows_no_redirect")
class FollowsRedirects(OnItsOwn):
    options: ClassVar = {"allow_redirects": True}


@breaks(REFUSED)
class KeepsTheLibrarysErrorInItsContext(OnItsOwn):
    def send(self, message):
        try:
            return super().send(message)
        except GatewayError as failure:
            error = requests.ConnectionError(f"https://acme.example/?token={self.settings.token.get_secret_value()}")
            raise failure from (error if failure.provider_code == "connection" else None)


@breaks(TIME_OUT, LOST)
class CallsNothingAmbiguous(Acme):
    def send(self, message):
        try:
            return super().send(message)
        except GatewayError as failure:
            failure.ambiguous = False
            raise


@breaks(REFUSED)
class CallsEverythingAmbiguous(Acme):
    def send(self, message):
        try:
            return super().send(message)
        except GatewayError as failure:
            failure.ambiguous = True
            raise


@breaks(EXCHANGE, TIME_OUT, LOST, REFUSED)
class BlamesEveryFailureOnTheMessage(Acme):
    def send(self, message):
        try:
            return super().send(message)
        except GatewayError as failure:
            failure.message_specific = True
            raise


@breaks(EXCHANGE)
class TriesAgain(Acme):
    def send(self, message):
        try:
            return super().send(message)
        except GatewayError:
            return super().send(message)


@breaks(EXCHANGE)
class RaisesItsOwnErrors(Acme):
    def send(self, message):
        try:
            return super().send(message)
        except GatewayError:
            raise KeyError("code") from None


@breaks(EXCHANGE)
class HasNoReference(Acme):
    def send(self, message):
        return replace(super().send(message), reference="")


@breaks(EXCHANGE)
class SpoilsTheText(Acme):
    def send(self, message):
        return super().send(replace(message, text=message.text.encode("ascii", "replace").decode()))


@breaks(EXCHANGE)
class TakesADeadNumberForAFaultOfOurs(Acme):
    def send(self, message):
        try:
            return super().send(message)
        except GatewayError as failure:
            failure.kind = FailureKind.REJECTED if failure.kind is FailureKind.DESTINATION else failure.kind
            raise


@breaks(SERVER_ERROR)
class TakesAServerErrorForAnOutage(Acme):
    def send(self, message):
        try:
            return super().send(message)
        except GatewayError as failure:
            failure.kind = FailureKind.UNAVAILABLE if failure.kind is FailureKind.ERROR else failure.kind
            raise


@breaks("test_neither_it_nor_its_settings_show_secrets")
class ShowsItsToken(Acme):
    def __repr__(self):
        return f"<Acme {self.settings.token.get_secret_value()}>"


@breaks("test_its_settings_refuse_unknown_members")
class TakesAnyMember(Acme):
    class Settings(Acme.Settings):
        model_config = ConfigDict(extra="ignore")


@breaks("test_its_settings_refuse_unknown_members")
class ShowsWrongInput(Acme):
    class Settings(Acme.Settings):
        model_config = ConfigDict(hide_input_in_errors=False)


@breaks("test_its_settings_cannot_be_changed")
class HasSettingsThatChange(Acme):
    class Settings(Acme.Settings):
        model_config = ConfigDict(frozen=False)


@breaks("test_it_describes_itself")
class CarriesPigeons(Acme):
    channels = frozenset({"pigeon"})


@breaks("test_its_samples_show_what_has_to_be_shown", samples=STRANGER / "samples" / "nothing.toml")
class HasNoSamples(SandboxGateway):
    class Settings(GatewaySettings):
        pass

    receipt = None

    def __init__(self, settings, context):
        pass


@breaks("test_its_samples_show_a_message_on_every_channel_that_it_carries")
class ShowsNoCall(Acme):
    channels = frozenset({"sms", "voice"})


@breaks("test_it_carries_what_its_samples_send")
class CarriesLessThanItSays(Acme):
    def __init__(self, settings, context):
        super().__init__(settings, context)
        self.channels = frozenset({"voice"})


ANOTHER, SHOWN = "test_another_message_goes_as_itself", "test_its_samples_show_what_a_body_holds"


@breaks(ANOTHER)
class WritesToOneNumberOnly(Acme):
    def send(self, message):
        return super().send(replace(message, to=MESSAGE.to))


@breaks(ANOTHER)
class SendsOneCodeOnly(Acme):
    def send(self, message):
        return super().send(replace(message, text=MESSAGE.text))


class OtherXml(XmlGateway):
    """Writes its document otherwise than it is sampled."""

    def document(self, message):
        return self.change(super().document(message), message)


def text_in(document):
    return document.partition("<text>")[2].partition("</text>")[0]


class Samples:
    """The file of samples with something replaced."""

    def __init__(self, pattern, replacement):
        text = (SAMPLES / "acme-xml.toml").read_text()
        self.read_text, self.is_file = lambda: re.sub(pattern, replacement, text), lambda: True


for _name, _tests, _change in (
    ("LeavesOutTheText", {EXCHANGE, ANOTHER}, lambda document, _: document.replace(text_in(document), "")),
    (
        "EscapesNothing",
        {EXCHANGE, ANOTHER},
        lambda document, message: document.replace(text_in(document), message.text),
    ),
    ("EscapesTwice", {EXCHANGE, ANOTHER}, lambda document, _: document.replace("&amp;", "&amp;amp;")),
    ("CutsTheTextShort", {EXCHANGE, ANOTHER}, lambda document, _: re.sub(".</text>", "</text>", document)),
    ("SendsOneTextOnly", {ANOTHER}, lambda document, _: document.replace(OTHER_CODE, CODE)),
    ("WritesToOneNumberInXml", {ANOTHER}, lambda document, message: document.replace(message.to[1:], MESSAGE.to[1:])),
    (
        "WritesToAnother",
        {EXCHANGE, ANOTHER},
        lambda document, message: document.replace(message.to[1:], "923001234568"),
    ),
    ("LeavesOutTheNumber", {EXCHANGE, ANOTHER}, lambda document, message: document.replace(message.to[1:], "")),
    ("WritesMoreThanIsSampled", {EXCHANGE, ANOTHER}, lambda document, _: f"{document}<!-- more -->"),
):
    breaks(*_tests, suite=TestUnbrokenXml)(type(_name, (OtherXml,), {"change": staticmethod(_change)}))


@breaks(SHOWN, suite=TestUnbrokenXml, samples=Samples("body = '''.*\nunescape.*", ""))
class ShowsNothingOfItsBody(XmlGateway):
    pass


@breaks(SHOWN, suite=TestUnbrokenXml, samples=Samples("[(][?]P<text>[^)]*[)]", "[^<]*"))
class ShowsNoText(XmlGateway):
    pass


@breaks(SHOWN, suite=TestUnbrokenXml, samples=Samples("[(][?]P<to_plain>[^)]*[)]", "[0-9]*"))
class ShowsNoNumber(XmlGateway):
    pass


REPORTS = {"suite": TestUnbrokenReports}
TWILIO, VONAGE = {"suite": TestUnbrokenTwilio}, {"suite": TestUnbrokenVonage}


@breaks(EXCHANGE, **TWILIO)
class BlamesNoFailureOnTheMessage(TwilioGateway):
    def send(self, message):
        try:
            return super().send(message)
        except GatewayError as failure:
            failure.message_specific = False
            raise


@breaks(EXCHANGE, **TWILIO)
class ForgetsThatSomebodyOptedOut(TwilioGateway):
    def send(self, message):
        try:
            return super().send(message)
        except GatewayError as failure:
            failure.opted_out = False
            raise


FORGED, READ = "test_a_forged_receipt_is_refused", "test_a_receipt_is_read_as_sampled"
ELSEWHERE, STALE = "test_a_receipt_of_another_dispatch_is_refused", "test_a_receipt_of_another_time_is_refused"


@breaks(FORGED, **REPORTS)
class BelievesEveryReport(SandboxGateway):
    def parse_receipt(self, request):
        return Receipt(DeliveryStatus.DELIVERED, "") if b"raw" in request.body else _read(self, request)


def _read(gateway, request):
    signed = {"x-sandbox-signature": gateway._signature(request.url, request.body)}
    return SandboxGateway.parse_receipt(gateway, replace(request, headers=signed))


@breaks(ELSEWHERE, **REPORTS)
class ForgetsTheAddress(SandboxGateway):
    def parse_receipt(self, request):
        return super().parse_receipt(replace(request, url=MESSAGE.receipt_url))


@breaks(ELSEWHERE, **VONAGE)
class ForgetsTheDispatch(VonageGateway):
    def parse_receipt(self, request):
        return super().parse_receipt(replace(request, dispatch_id=MESSAGE.dispatch_id))


@breaks(FORGED, ELSEWHERE, **VONAGE)
class NeedsNoToken(VonageGateway):
    def parse_receipt(self, request):
        marked = self.sign_receipt_url("", request.dispatch_id).partition("=")[2]
        return super().parse_receipt(replace(request, query={**request.query, "t": marked}))


@breaks(FORGED, **VONAGE)
class SignsTheFormOnly(VonageGateway):
    def parse_receipt(self, request):
        if request.form:
            return super().parse_receipt(request)
        return Receipt(DeliveryStatus.DELIVERED, "delivered")


@breaks(STALE, **VONAGE)
class KeepsReceiptsForDays(VonageGateway):
    def parse_receipt(self, request):
        with pytest.MonkeyPatch.context() as world:
            world.setattr(base, "TOLERANCE", 86_400)
            return super().parse_receipt(request)


@breaks(FORGED, suite=TestUnbrokenHttp)
class BelievesEveryPeer(HttpGateway):
    def parse_receipt(self, request):
        return super().parse_receipt(replace(request, peer="192.0.2.7"))


@breaks(READ, **TWILIO)
class ForgetsTheKind(TwilioGateway):
    def parse_receipt(self, request):
        return replace(super().parse_receipt(request), kind=None)


@breaks(READ, **REPORTS)
class TakesTheUnseenForDelivered(SandboxGateway):
    def parse_receipt(self, request):
        read = super().parse_receipt(request)
        return replace(read, status=DeliveryStatus.DELIVERED)


@breaks(READ, **REPORTS)
class DiesOfTheUnseen(SandboxGateway):
    def parse_receipt(self, request):
        if b"teleported" in request.body:
            raise KeyError("teleported")
        return super().parse_receipt(request)


@breaks("test_receipts_are_sampled_where_there_are_any", samples=STRANGER / "samples" / "acme.toml")
class ReportsWithoutSamples(Acme):
    def parse_receipt(self, request):
        pytest.fail("nobody asks")


@breaks("test_a_forged_message_is_refused", **REPORTS)
class ObeysEverybody(SandboxGateway):
    def parse_inbound(self, request):
        signed = {"x-sandbox-signature": self._signature(request.url, request.body)}
        return super().parse_inbound(replace(request, headers=signed))


@breaks("test_a_forged_message_is_refused", suite=TestUnbrokenHttp)
class ObeysEveryPeer(HttpGateway):
    def parse_inbound(self, request):
        return super().parse_inbound(replace(request, peer="192.0.2.7"))


@breaks("test_a_message_of_another_time_is_refused", **VONAGE)
class ObeysForDays(VonageGateway):
    def parse_inbound(self, request):
        with pytest.MonkeyPatch.context() as world:
            world.setattr(base, "TOLERANCE", 86_400)
            return super().parse_inbound(request)


@breaks("test_a_message_is_read_as_sampled", **VONAGE)
class ReadsTheFirstWord(VonageGateway):
    def parse_inbound(self, request):
        read = super().parse_inbound(request)
        return replace(read, text=read.text.split()[0] if read.text else "stop")


@breaks("test_a_message_is_read_as_sampled", **TWILIO)
class ForgetsWhatTheProviderDid(TwilioGateway):
    def parse_inbound(self, request):
        return replace(super().parse_inbound(request), opt_out=None)


@breaks("test_garbage_is_refused_or_read_and_nothing_else", **REPORTS)
class DiesOfGarbage(SandboxGateway):
    def parse_inbound(self, request):
        json.loads(request.body)
        return super().parse_inbound(request)


@breaks("test_an_answer_holds_a_reply_where_it_carries_one", **TWILIO)
class SwallowsReplies(TwilioGateway):
    def inbound_response(self, reply):
        return super().inbound_response(None)


@breaks("test_an_answer_holds_a_reply_where_it_carries_one", **TWILIO)
class BreaksItsDocument(TwilioGateway):
    def inbound_response(self, reply):
        answer = super().inbound_response(reply and "x")
        return replace(answer, body=answer.body.replace(">x<", f">{(reply or '').split('<')[0]}<"))


@breaks("test_messages_from_people_are_sampled_where_there_are_any", samples=STRANGER / "samples" / "acme.toml")
class ReceivesWithoutSamples(Acme):
    def parse_inbound(self, request):
        pytest.fail("nobody asks")
