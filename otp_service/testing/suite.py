"""The contract suite: subclass `GatewayContract` to test a gateway."""

import html
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from pydantic import ValidationError

from otp_service.domain.messages import Message
from otp_service.domain.verification import Channel, DeliveryStatus
from otp_service.gateways.base import (
    REPORTS_OVER_HTTP,
    Accepted,
    FailureKind,
    ForgedRequestError,
    GatewayError,
    GatewaySettings,
    InboundMessage,
    ProviderRequest,
    Receipt,
    ReceiptRequest,
    SupportsInbound,
    SupportsInboundResponse,
    SupportsSharedReceipts,
)
from otp_service.testing.provider import (
    Behaviour,
    FakeProvider,
    GatewayTests,
    LeakDetector,
    assert_holds_nothing_private,
    exception_text,
)
from otp_service.testing.samples import (
    CODE,
    HOUR,
    MESSAGE,
    REQUIRED,
    CannedResponse,
    ExpectedRequest,
    SampleExchange,
    SampleInbound,
    SampleReceipt,
    SampleRequest,
    Samples,
    checked_members,
    fill,
    message_member,
    other_message,
    parse_body,
    with_server_url,
)

# ruff: noqa: S101 - a suite asserts


TIMEOUT = 0.3
"""Maximum seconds of a call in the tests of time-outs."""
TIMEOUT_SLACK = 1.0
"""Further seconds for a busy host; far less than a gateway without a time-out needs."""


class SendingTests(GatewayTests):
    """Tests of sending."""

    def test_an_exchange_goes_as_sampled(
        self, exchange: SampleExchange, provider: FakeProvider, leaks: LeakDetector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The gateway makes the sampled request once, and has the sampled outcome; nothing leaks."""
        provider.response = exchange.response
        settings = self.settings(provider.url, **with_server_url(exchange.settings, provider.url))
        with monkeypatch.context() as world:
            self.arrange(exchange, world)
            outcome = self.outcome(settings, exchange.message)
        self.assert_asked_as_sampled(exchange, provider)
        self.assert_ended_as_sampled(exchange, outcome)
        self.assert_nothing_leaks(outcome, settings, leaks)

    def test_another_message_goes_as_itself(
        self, file: Samples, caller: FakeProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Repeat each exchange with another number and code: a gateway could always send the sampled message."""
        for exchange in file.exchanges:
            if exchange.outcome == "accepted" and exchange.request:
                caller.received.clear()
                caller.response = exchange.response
                settings = self.settings(caller.url, **with_server_url(exchange.settings, caller.url))
                message = other_message(exchange.message)
                with monkeypatch.context() as world:
                    self.arrange(exchange, world)
                    self.outcome(settings, message)
                assert len(caller.received) == 1
                self.assert_holds_nothing_of_the_sampled_message(caller)
                self.assert_body_as_sampled(exchange.request, caller, message)

    @pytest.mark.parametrize("status", [200, 201, 302, 400, 404, 429, 500])
    def test_an_answer_that_repeats_the_request_gives_nothing_away(
        self, status: int, caller: FakeProvider, leaks: LeakDetector
    ) -> None:
        """Providers repeat numbers, texts and keys in answers; the gateway must not."""
        caller.behaviour, caller.response = Behaviour.ECHO, CannedResponse(status=status)
        settings = self.settings(caller.url)
        outcome = self.outcome(settings)
        assert len(caller.received) == 1
        assert isinstance(outcome, GatewayError) or status < 300  # noqa: PLR2004 - the statuses of success
        self.assert_nothing_leaks(outcome, settings, leaks)

    def test_it_follows_no_redirect(self, caller: FakeProvider) -> None:
        """A redirect would send a number, and perhaps a key, to another URL."""
        elsewhere = {"Location": f"{caller.url}/elsewhere"}
        for status in (301, 302, 303, 307, 308):
            caller.received.clear()
            caller.response = CannedResponse(status=status, headers=elsewhere)
            assert isinstance(self.outcome(self.settings(caller.url)), GatewayError)
            assert len(caller.received) == 1

    @pytest.mark.parametrize("behaviour", [Behaviour.SILENT, Behaviour.DRIP])
    def test_a_time_out_is_unavailable_ambiguous_and_in_time(
        self, behaviour: Behaviour, caller: FakeProvider, leaks: LeakDetector
    ) -> None:
        """The time-out limits the whole call, also while bytes keep coming; the message may have been sent."""
        caller.behaviour = behaviour
        settings = self.settings(caller.url, timeout=TIMEOUT)
        for _ in range(3):  # a busy host delays a call, hardly three; a call without a time-out is always late
            caller.received.clear()
            began = time.monotonic()
            outcome = self.outcome(settings)
            in_time = time.monotonic() - began < TIMEOUT + TIMEOUT_SLACK
            assert _kind_and_ambiguity(outcome) == (FailureKind.UNAVAILABLE, True)
            assert len(caller.received) == 1
            self.assert_nothing_leaks(outcome, settings, leaks)
            if in_time:
                break
        assert in_time

    def test_an_answer_without_end_is_cut_off(self, caller: FakeProvider) -> None:
        """The gateway stops reading a long answer well before the time-out."""
        caller.behaviour = Behaviour.FLOOD
        began = time.monotonic()
        assert isinstance(self.outcome(self.settings(caller.url, timeout=10.0)), GatewayError)
        assert time.monotonic() - began < TIMEOUT_SLACK

    def test_a_connection_lost_after_the_request_is_unavailable_and_ambiguous(
        self, caller: FakeProvider, leaks: LeakDetector
    ) -> None:
        """The message may have been sent, and is not sent again."""
        caller.behaviour = Behaviour.CUT
        settings = self.settings(caller.url)
        outcome = self.outcome(settings)
        assert _kind_and_ambiguity(outcome) == (FailureKind.UNAVAILABLE, True)
        assert len(caller.received) == 1
        self.assert_nothing_leaks(outcome, settings, leaks)

    def test_a_server_error_is_not_taken_for_an_outage(self, caller: FakeProvider, leaks: LeakDetector) -> None:
        """The provider may have sent the message: after *unavailable* delivery would go on for the code's lifetime."""
        caller.response = CannedResponse(status=500)
        settings = self.settings(caller.url)
        outcome = self.outcome(settings)
        assert _kind_and_ambiguity(outcome) != (FailureKind.UNAVAILABLE, False)
        self.assert_nothing_leaks(outcome, settings, leaks)

    def test_a_refused_connection_is_unavailable_and_not_ambiguous(self, file: Samples, leaks: LeakDetector) -> None:
        """Nothing was sent."""
        if not file.calls_provider:
            pytest.skip("it calls no provider")
        with self.make_provider() as gone:
            settings = self.settings(gone.url)
        outcome = self.outcome(settings)
        assert _kind_and_ambiguity(outcome) == (FailureKind.UNAVAILABLE, False)
        self.assert_nothing_leaks(outcome, settings, leaks)

    def assert_asked_as_sampled(self, exchange: SampleExchange, provider: FakeProvider) -> None:
        """Compare what the provider received with the sample."""
        if exchange.request is None:
            assert provider.received == []
            return
        assert len(provider.received) == 1
        expected, (received,) = exchange.request, provider.received
        assert (received.method, received.path) == (expected.method, fill(expected.path))
        assert received.query == fill(expected.query)
        assert {name: received.headers.get(name.lower()) for name in expected.headers} == fill(expected.headers)
        if expected.form is not None:
            assert received.form == fill(expected.form)
        if expected.document is not None:
            assert received.document == fill(expected.document)
        self.assert_body_as_sampled(expected, provider, exchange.message)
        if provider.session:
            (sign_in,) = provider.sessions
            assert {name: sign_in.headers.get(name.lower()) for name in provider.session.headers} == (
                provider.session.headers
            )

    def assert_body_as_sampled(self, expected: ExpectedRequest, provider: FakeProvider, message: Message) -> None:
        """Compare a body with the pattern of the sample, if it has a pattern."""
        if expected.body is None:
            return
        (received,) = provider.received
        try:
            members = parse_body(expected, received.body)
        except ValueError as fault:
            pytest.fail(f"a part of the body is not encoded as sampled: {fault}")
        assert members is not None, "the body is not as sampled"
        assert members == {name: message_member(message, name) for name in members}

    def assert_holds_nothing_of_the_sampled_message(self, provider: FakeProvider) -> None:
        """Fail if the request for another message contains the number or the code of the sampled message."""
        request = f"{vars(provider.received[0])}".lower()
        utf16 = CODE.encode("utf-16-be").hex()
        for private in (MESSAGE.to.removeprefix("+92"), CODE, CODE.encode().hex(), utf16):
            assert private not in request

    def assert_ended_as_sampled(self, exchange: SampleExchange, outcome: Accepted | GatewayError) -> None:
        """Compare the outcome with the sample."""
        if isinstance(outcome, Accepted):
            assert exchange.outcome == "accepted"
            assert outcome.reference
            assert exchange.reference in {None, outcome.reference} or fill(exchange.reference) == outcome.reference
            return
        assert (str(exchange.outcome), exchange.ambiguous) == (str(outcome.kind), outcome.ambiguous)
        assert exchange.message_specific is outcome.message_specific
        assert exchange.opted_out is outcome.opted_out
        assert exchange.code in {None, outcome.provider_code}

    def assert_nothing_leaks(
        self, outcome: Accepted | GatewayError, settings: GatewaySettings, leaks: LeakDetector
    ) -> None:
        """Fail if the outcome, a log line or the output contains private data."""
        text = exception_text(outcome) if isinstance(outcome, GatewayError) else outcome.reference
        assert_holds_nothing_private(text, settings, "the outcome")
        leaks.assert_no_log_gives_away(settings)
        if not (self.prints and self.gateway_class.development_only):
            leaks.assert_no_print_gives_away(settings)


def _kind_and_ambiguity(outcome: Accepted | GatewayError) -> tuple[FailureKind, bool] | Accepted:
    """Return kind and ambiguity of a failure, which must not be message-specific: the breaker has to count it."""
    if isinstance(outcome, Accepted):
        return outcome
    assert not outcome.message_specific
    return outcome.kind, outcome.ambiguous


OTHER_DISPATCH = "dp_ffeeddccbbaa99887766554433221100"
_OTHER_PEER = "203.0.113.9"
_NO_DOCUMENTS = (
    b"\xff\xfe",
    b"[]",
    b"null",
    b"{",
    b"[" * 5000,
    b'{"text": {"a": [1]}}',
    b'{"text": null}',
    b'{"text": "\\ud83d"}',
)

Request = TypeVar("Request", bound=ProviderRequest)
Forgery = tuple[str, Request]
"""The change, and the request."""


def sampled_receipt(receipt: SampleReceipt) -> ReceiptRequest:
    """Return the request of a sampled receipt."""
    return ReceiptRequest(**_members_of(receipt), dispatch_id=MESSAGE.dispatch_id)


def sampled_message(sample: SampleRequest) -> ProviderRequest:
    """Return the request of a sampled message from a person."""
    return ProviderRequest(**_members_of(sample))


def _members_of(sample: SampleRequest) -> dict[str, Any]:
    return {
        "method": sample.method,
        "url": sample.url,
        "headers": {name.lower(): value for name, value in sample.headers.items()},
        "query": dict(parse_qsl(urlsplit(sample.url).query, keep_blank_values=True)),
        "form": sample.form,
        "body": (sample.body or urlencode(sample.form)).encode(),
        "peer": sample.peer,
    }


def forgeries(real: Request, covers: frozenset[str]) -> Iterator[Forgery[Request]]:
    """Yield a request with a single change to its proof, or to a part that the proof covers."""
    if real.headers:
        yield "no headers", replace(real, headers={})
    for name, value in real.headers.items():
        yield f"another {name}", replace(real, headers={**real.headers, name: value[::-1]})
        yield f"an empty {name}", replace(real, headers={**real.headers, name: ""})
        yield f"a longer {name}", replace(real, headers={**real.headers, name: value + "="})
        yield f"letters in {name}", replace(real, headers={**real.headers, name: "\u00e9"})
    names = [name for name in real.query if covers & {"query", f"query.{name}"}]
    for change, query in _changed(real.query, names):
        url = urlsplit(real.url)._replace(query=urlencode(query)).geturl()
        yield f"{change} in the query", replace(real, query=query, url=url)
    if "peer" in covers:
        yield "another peer", replace(real, peer=_OTHER_PEER)
    if "body" in covers:
        yield from _other_bodies(real)


def garbage(real: Request) -> Iterator[Forgery[Request]]:
    """Yield a request with content that no provider sends, and the original proof."""
    for body in _NO_DOCUMENTS:
        yield f"the body {body[:20]!r}", replace(real, body=body, form={})
    yield "a form of nothing", replace(real, body=b"&&=", form={"": ""})
    yield "nothing but zeros", replace(real, form=dict.fromkeys(real.form, "\0"))
    yield "no content", replace(real, body=b"", form={})


def _other_bodies(real: Request) -> Iterator[Forgery[Request]]:
    members = None
    with suppress(ValueError):
        members = json.loads(real.body)
    if real.form:
        for change, form in _changed(real.form, real.form):
            yield f"{change} in the form", replace(real, form=form, body=urlencode(form).encode())
    elif members and isinstance(members, dict):
        for change, document in _changed(members, members):
            yield f"{change} in the document", replace(real, body=json.dumps(document).encode())
    elif real.body:
        yield "another body", replace(real, body=real.body + b" ")


def _changed(members: Mapping[str, Any], names: Mapping[str, Any] | list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in names:
        yield f"another {name}", {**members, name: f"{members[name]}0"}
        yield f"letters as {name}", {**members, name: "\u00e9"}
        yield f"no {name}", {other: value for other, value in members.items() if other != name}


Parse = Callable[..., Receipt | InboundMessage]


class RequestTests(GatewayTests):
    """Tests of requests from the provider."""

    @pytest.fixture
    def parse(self, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Parse:
        """Return a function that passes a request to the gateway, ``late`` by so many seconds.

        Only ``time.time()`` is moved, to the sample's time.
        """

        def parse(sample: SampleRequest, request: ProviderRequest, late: float = 0.0) -> Receipt | InboundMessage:
            gateway = self.gateway(self.settings(provider.url, **sample.settings))
            with monkeypatch.context() as world:
                if sample.at is not None:
                    now = sample.at + late
                    world.setattr(time, "time", lambda: now)
                if not isinstance(request, ReceiptRequest):
                    assert isinstance(gateway, SupportsInbound)
                    return gateway.parse_inbound(request)
                assert isinstance(gateway, REPORTS_OVER_HTTP)
                if not isinstance(gateway, SupportsSharedReceipts):
                    return gateway.parse_receipt(request)
                ((dispatch_id, receipt),) = gateway.parse_receipts(request)
                assert dispatch_id == MESSAGE.dispatch_id
                return receipt

        return parse

    def assert_refused(
        self, parse: Parse, change: str, sample: SampleRequest, request: ProviderRequest, late: float = 0.0
    ) -> None:
        """Fail unless the gateway refuses a request."""
        with pytest.raises(ForgedRequestError):
            pytest.fail(f"{change}: {parse(sample, request, late)}")

    def assert_refused_at_other_times(self, parse: Parse, sample: SampleRequest, request: ProviderRequest) -> None:
        """Fail unless the gateway refuses a genuine request an hour late, and an hour early."""
        if sample.at is None:
            pytest.skip("its proof has no time in it")
        self.assert_refused(parse, "an hour late", sample, request, HOUR)
        self.assert_refused(parse, "an hour early", sample, request, -HOUR)


class ReceiptTests(RequestTests):
    """Tests of delivery receipts."""

    def test_receipts_are_sampled_where_there_are_any(self, file: Samples) -> None:
        """A gateway with receipts has samples of a known and an unknown status."""
        shown = {receipt.status for receipt in file.receipts}
        if issubclass(self.gateway_class, REPORTS_OVER_HTTP):
            assert DeliveryStatus.UNKNOWN in shown
            assert shown - {DeliveryStatus.UNKNOWN}
        else:
            assert not shown

    def test_a_receipt_is_read_as_sampled(self, receipt: SampleReceipt, parse: Parse) -> None:
        """The status is normalised, an unknown status becomes ``unknown``, and the provider's own word is kept."""
        expected = {name: getattr(receipt, name) for name in Receipt.__slots__}
        assert parse(receipt, sampled_receipt(receipt)) == Receipt(**expected)

    def test_a_forged_receipt_is_refused(self, receipt: SampleReceipt, parse: Parse) -> None:
        """A receipt is refused after any change to a part that its proof covers."""
        for change, forged in forgeries(sampled_receipt(receipt), receipt.covers):
            self.assert_refused(parse, change, receipt, forged)

    def test_a_receipt_of_another_dispatch_is_refused(self, receipt: SampleReceipt, parse: Parse) -> None:
        """A genuine receipt is refused at the URL of another dispatch."""
        if "address" not in receipt.covers:
            pytest.skip("its proof does not cover the address")
        url = receipt.url.replace(MESSAGE.dispatch_id, OTHER_DISPATCH)
        request = replace(sampled_receipt(receipt), url=url, dispatch_id=OTHER_DISPATCH)
        self.assert_refused(parse, OTHER_DISPATCH, receipt, request)

    def test_a_receipt_of_another_time_is_refused(self, receipt: SampleReceipt, parse: Parse) -> None:
        """A proof with a time does not hold for ever."""
        self.assert_refused_at_other_times(parse, receipt, sampled_receipt(receipt))


REPLY = "No more of <Müller & Söhne>. START?"


class InboundTests(RequestTests):
    """Tests of messages from people."""

    def test_messages_from_people_are_sampled_where_there_are_any(self, file: Samples) -> None:
        """A gateway with inbound messages has a sample."""
        assert bool(file.inbound) is issubclass(self.gateway_class, SupportsInbound)

    def test_a_message_is_read_as_sampled(self, inbound: SampleInbound, parse: Parse) -> None:
        """The message has the sampled values, and its ``repr`` does not show the sender."""
        read = parse(inbound, sampled_message(inbound))
        assert read == InboundMessage(inbound.reference, inbound.sender, inbound.text, inbound.channel, inbound.opt_out)
        assert inbound.sender not in repr(read)

    def test_a_forged_message_is_refused(self, inbound: SampleInbound, parse: Parse) -> None:
        """A message is refused after any change to a part that its proof covers."""
        for change, forged in forgeries(sampled_message(inbound), inbound.covers):
            self.assert_refused(parse, change, inbound, forged)

    def test_a_message_of_another_time_is_refused(self, inbound: SampleInbound, parse: Parse) -> None:
        """A proof with a time does not hold for ever."""
        self.assert_refused_at_other_times(parse, inbound, sampled_message(inbound))

    def test_garbage_is_refused_or_read_and_nothing_else(self, inbound: SampleInbound, parse: Parse) -> None:
        """No content of a request raises another exception."""
        for _, nonsense in garbage(sampled_message(inbound)):
            with suppress(ForgedRequestError):
                assert isinstance(parse(inbound, nonsense), InboundMessage)

    def test_an_answer_holds_a_reply_where_it_carries_one(self, provider: FakeProvider) -> None:
        """A reply arrives whole, also with characters of XML; without a reply none is sent."""
        gateway = self.gateway(self.settings(provider.url))
        if not isinstance(gateway, SupportsInboundResponse):
            pytest.skip("its answers are 204")
        assert gateway.inbound_response(None).media_type
        assert REPLY not in html.unescape(gateway.inbound_response(None).body)
        if gateway.carries_reply:
            assert REPLY in html.unescape(gateway.inbound_response(REPLY).body)


class DescriptionTests(GatewayTests):
    """Tests of the gateway's description and samples."""

    def test_it_describes_itself(self) -> None:
        """The gateway has a kind, known channels, and settings of the common model."""
        assert self.gateway_class.kind
        assert set() < self.gateway_class.channels <= set(Channel)
        assert isinstance(self.gateway_class.development_only, bool)
        assert issubclass(self.gateway_class.Settings, GatewaySettings)

    def test_its_samples_show_what_has_to_be_shown(self, file: Samples) -> None:
        """The file has the required outcomes, or without a provider the reason why an outcome cannot occur."""
        assert self.samples.is_file(), f"{self.samples} is missing"
        shown = {str(exchange.outcome) for exchange in file.exchanges}
        by_sim = any(Channel(channel).traits.goes_to_sim for channel in self.gateway_class.channels)
        if "channel" in shown and not by_sim:  # an app knows only that a number is not registered
            shown.add("destination")
        excused = set() if file.calls_provider else set(file.never)
        assert set(REQUIRED) <= shown | excused

    def test_its_samples_show_a_message_on_every_channel_that_it_carries(self, file: Samples) -> None:
        """Channels often differ in more than their name, except for a gateway without a provider."""
        accepted = {exchange.channel for exchange in file.exchanges if exchange.outcome == "accepted"}
        assert not file.calls_provider or self.gateway_class.channels <= accepted

    def test_its_samples_show_what_a_body_holds(self, file: Samples, provider: FakeProvider) -> None:
        """A sample has to check the number and the text of a body."""
        for exchange in file.exchanges:
            if exchange.outcome == "accepted" and exchange.request and not exchange.request.shows_a_body:
                provider.received.clear()
                provider.response = exchange.response
                settings = self.settings(provider.url, **with_server_url(exchange.settings, provider.url))
                self.outcome(settings, exchange.message)
                assert not any(getattr(received, "body", b"") for received in provider.received), exchange.name
            if exchange.request and exchange.request.body:
                shown = checked_members(exchange.request)
                assert shown & {"to", "to_plain"}, f"{exchange.name}: no group for the number"
                texts = {"text", "text_xml", *exchange.message.variables}
                assert shown & texts, f"{exchange.name}: no group for the text"

    def test_its_samples_show_the_sender_where_it_sets_one(self, file: Samples, provider: FakeProvider) -> None:
        """Countries that require registered senders rely on a gateway that shows them."""
        exchanges = [
            exchange
            for exchange in file.exchanges
            if exchange.channel == "sms"
            and self.settings(provider.url, **with_server_url(exchange.settings, provider.url)).sets_sender
        ]
        shown = any(exchange.sender and exchange.request for exchange in exchanges)
        assert shown or not exchanges or not file.calls_provider

    def test_it_carries_what_its_samples_send(self, exchange: SampleExchange, provider: FakeProvider) -> None:
        """Its settings may narrow its channels; both have the same channels."""
        settings = self.settings(provider.url, **with_server_url(exchange.settings, provider.url))
        channels = self.gateway(settings).channels
        assert exchange.channel in channels <= set(Channel)
        assert channels == getattr(settings, "channels", self.gateway_class.channels)

    def test_its_settings_refuse_unknown_members(self, provider: FakeProvider) -> None:
        """A misspelt member is an error with its path, but without its value, which may be a secret."""
        with pytest.raises(ValidationError) as refused:
            self.settings(provider.url, surprise="a-misplaced-secret")

        assert [fault["loc"] for fault in refused.value.errors()] == [("surprise",)]
        assert "a-misplaced-secret" not in str(refused.value)

    def test_its_settings_cannot_be_changed(self, provider: FakeProvider) -> None:
        """Settings are frozen."""
        settings = self.settings(provider.url)
        with pytest.raises(ValidationError, match="frozen"):
            settings.timeout = 1.0  # type: ignore[misc]

    def test_neither_it_nor_its_settings_show_secrets(self, provider: FakeProvider) -> None:
        """No ``repr``, ``str`` or JSON shows a secret."""
        settings = self.settings(provider.url)
        text = f"{settings!r} {settings} {settings.model_dump_json()} {self.gateway(settings)!r}"
        assert_holds_nothing_private(text, settings, "a repr")


class GatewayContract(DescriptionTests, SendingTests, ReceiptTests, InboundTests):
    """All tests: ``class TestAcme(GatewayContract): gateway_class, samples = AcmeGateway, Path("acme.toml")``."""
