# ruff: noqa: S101 - a suite asserts
"""What a gateway promises of what people write back, if its provider passes that on."""

import html
import time
from contextlib import suppress

import pytest

from otp_service.gateways.base import (
    AnswersInbound,
    InboundForgedError,
    InboundMessage,
    ProviderRequest,
    ReceivesMessages,
)
from otp_service.gateways.contract.bench import Bench
from otp_service.gateways.contract.forging import forgeries, garbage, genuine_message
from otp_service.gateways.contract.provider import Provider
from otp_service.gateways.contract.requests import HOUR, SampleInbound
from otp_service.gateways.contract.samples import Samples

REPLY = "No more of <Müller & Söhne>. START?"


class Receives(Bench):
    """The promises."""

    def test_messages_from_people_are_sampled_where_there_are_any(self, file: Samples) -> None:
        """A gateway that receives messages shows one."""
        assert bool(file.inbound) is issubclass(self.gateway_class, ReceivesMessages)

    def test_a_message_is_read_as_sampled(
        self, inbound: SampleInbound, provider: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who wrote what, and what the provider made of it; neither is in a ``repr``."""
        read = self.received(inbound, genuine_message(inbound), provider, monkeypatch)
        assert read == InboundMessage(inbound.reference, inbound.sender, inbound.text, inbound.channel, inbound.opt_out)
        assert inbound.sender not in repr(read)

    def test_a_forged_message_is_refused(
        self, inbound: SampleInbound, provider: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever is changed in a genuine one that its proof covers, it is no longer obeyed."""
        for what, forged in forgeries(genuine_message(inbound), inbound.covers):
            self.assert_not_obeyed(what, inbound, forged, provider, monkeypatch)

    def test_a_message_of_another_time_is_refused(
        self, inbound: SampleInbound, provider: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A genuine one that was kept for an hour is too old; one that is an hour early is no better."""
        if inbound.at is None:
            pytest.skip("its proof has no time in it")
        for what, late in (("an hour late", HOUR), ("an hour early", -HOUR)):
            self.assert_not_obeyed(what, inbound, genuine_message(inbound), provider, monkeypatch, late=late)

    def test_garbage_is_refused_or_read_and_nothing_else(
        self, inbound: SampleInbound, provider: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever a request holds, it raises no other exception."""
        for _, nonsense in garbage(genuine_message(inbound)):
            with suppress(InboundForgedError):
                assert isinstance(self.received(inbound, nonsense, provider, monkeypatch), InboundMessage)

    def test_an_answer_holds_a_reply_where_it_carries_one(self, provider: Provider) -> None:
        """Without a reply it holds none; a text with signs of XML in it arrives whole."""
        gateway = self.gateway(self.settings(provider.url))
        if not isinstance(gateway, AnswersInbound):
            pytest.skip("its provider is answered with 204")
        assert gateway.inbound_answer(None).media_type
        assert REPLY not in html.unescape(gateway.inbound_answer(None).body)
        if gateway.carries_reply:
            assert REPLY in html.unescape(gateway.inbound_answer(REPLY).body)

    def assert_not_obeyed(
        self,
        what: str,
        inbound: SampleInbound,
        request: ProviderRequest,
        provider: Provider,
        monkeypatch: pytest.MonkeyPatch,
        *,
        late: float = 0.0,
    ) -> None:
        """Fail unless the gateway refuses a message that comes in ``late`` by so many seconds."""
        with pytest.raises(InboundForgedError):
            pytest.fail(f"{what}: {self.received(inbound, request, provider, monkeypatch, late=late)}")

    def received(
        self,
        inbound: SampleInbound,
        request: ProviderRequest,
        provider: Provider,
        monkeypatch: pytest.MonkeyPatch,
        *,
        late: float = 0.0,
    ) -> InboundMessage:
        """Let the gateway read a message at the time of the sample: ``time.time()`` is moved, no other clock."""
        gateway = self.gateway(self.settings(provider.url, **inbound.settings))
        assert isinstance(gateway, ReceivesMessages)
        with monkeypatch.context() as world:
            if inbound.at is not None:
                now = inbound.at + late
                world.setattr(time, "time", lambda: now)
            return gateway.inbound(request)
