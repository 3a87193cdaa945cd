# ruff: noqa: S101 - a suite asserts
"""What a gateway promises of itself and of its settings."""

import pytest
from pydantic import ValidationError

from otp_service.gateways.base import GatewaySettings
from otp_service.gateways.contract.bench import Bench
from otp_service.gateways.contract.filling import at_server, named_in
from otp_service.gateways.contract.provider import Provider
from otp_service.gateways.contract.samples import REQUIRED, Exchange, Samples
from otp_service.gateways.contract.watch import assert_holds_nothing_private

CHANNELS = {"sms", "voice", "whatsapp"}


class DescribesItself(Bench):
    """The promises."""

    def test_it_describes_itself(self) -> None:
        """It has a kind, channels that exist, and settings of the common model."""
        assert self.gateway_class.kind
        assert set() < self.gateway_class.channels <= CHANNELS
        assert isinstance(self.gateway_class.development_only, bool)
        assert issubclass(self.gateway_class.Settings, GatewaySettings)

    def test_its_samples_show_what_has_to_be_shown(self, file: Samples) -> None:
        """The file exists and shows the required outcomes, or says why one cannot occur where nobody is called."""
        assert self.samples.is_file(), f"{self.samples} is missing"
        shown = {str(exchange.outcome) for exchange in file.exchanges}
        excused = set() if file.calls_somebody else set(file.never)
        assert set(REQUIRED) <= shown | excused

    def test_its_samples_show_a_message_on_every_channel_that_it_carries(self, file: Samples) -> None:
        """Channels often differ in all but their name; a gateway that calls nobody makes no difference."""
        accepted = {exchange.channel for exchange in file.exchanges if exchange.outcome == "accepted"}
        assert not file.calls_somebody or self.gateway_class.channels <= accepted

    def test_its_samples_show_what_a_body_holds(self, file: Samples, provider: Provider) -> None:
        """Number and text of a request that nobody looks at could be anybody's."""
        for exchange in file.exchanges:
            if exchange.outcome == "accepted" and exchange.request and not exchange.request.shows_a_body:
                provider.received.clear()
                provider.response = exchange.response
                self.outcome(
                    self.settings(provider.url, **at_server(exchange.settings, provider.url)), exchange.message
                )
                assert not any(getattr(received, "body", b"") for received in provider.received), exchange.name
            if exchange.request and exchange.request.body:
                shown = named_in(exchange.request)
                assert shown & {"to", "to_plain"}, f"{exchange.name}: no group for the number"
                assert shown & {"text", "text_xml", *exchange.message.variables}, (
                    f"{exchange.name}: no group for the text"
                )

    def test_its_samples_show_the_sender_where_it_sets_one(self, file: Samples, provider: Provider) -> None:
        """Where a country lets registered senders pass only, such a gateway is trusted to show them."""
        promised = [
            one
            for one in file.exchanges
            if one.channel == "sms" and self.settings(provider.url, **at_server(one.settings, provider.url)).sets_sender
        ]
        assert not promised or not file.calls_somebody or any(one.sender and one.request for one in promised)

    def test_it_carries_what_its_samples_send(self, exchange: Exchange, provider: Provider) -> None:
        """Its settings may narrow its channels, and then both say the same."""
        settings = self.settings(provider.url, **at_server(exchange.settings, provider.url))
        channels = self.gateway(settings).channels
        assert exchange.channel in channels <= CHANNELS
        assert channels == getattr(settings, "channels", self.gateway_class.channels)

    def test_its_settings_refuse_unknown_members(self, provider: Provider) -> None:
        """A misspelt member is an error with its path, and without its value, which may be a secret."""
        with pytest.raises(ValidationError) as refused:
            self.settings(provider.url, surprise="a-misplaced-secret")

        assert [fault["loc"] for fault in refused.value.errors()] == [("surprise",)]
        assert "a-misplaced-secret" not in str(refused.value)

    def test_its_settings_cannot_be_changed(self, provider: Provider) -> None:
        """Settings are frozen."""
        settings = self.settings(provider.url)
        with pytest.raises(ValidationError, match="frozen"):
            settings.timeout = 1.0  # type: ignore[misc]

    def test_neither_it_nor_its_settings_show_secrets(self, provider: Provider) -> None:
        """No ``repr``, ``str`` or JSON shows a secret."""
        settings = self.settings(provider.url)
        told = f"{settings!r} {settings} {settings.model_dump_json()} {self.gateway(settings)!r}"
        assert_holds_nothing_private(told, settings, "a repr")
