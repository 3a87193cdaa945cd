"""What the tests of the suite stand on: a gateway, its samples, a provider of our own, and a watch."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import pytest

from otp_service.domain.templates import Message
from otp_service.gateways.base import (
    Accepted,
    Gateway,
    GatewayContext,
    GatewayError,
    GatewaySettings,
    InboundMessage,
    Inbox,
    Mailbox,
    Receipt,
    ReceiptDesk,
)
from otp_service.gateways.contract.filling import at_server
from otp_service.gateways.contract.provider import Provider
from otp_service.gateways.contract.samples import Exchange, Samples, load
from otp_service.gateways.contract.watch import Watch


class MemoryMailbox:
    """Where a gateway that catches messages puts them."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def put(self, message: Message) -> None:
        """Keep a message."""
        self.messages.append(message)


class MemoryDesk:
    """Where a gateway hands in receipts that do not come over HTTP."""

    def __init__(self) -> None:
        self.receipts: list[tuple[tuple[str, ...], Receipt]] = []

    def hand_in(
        self,
        references: tuple[str, ...],
        receipt: Receipt,
        guesses: Sequence[tuple[str, ...]] = (),
        numbers: tuple[str, ...] = (),  # noqa: ARG002 - it knows no dispatch to compare with
    ) -> bool:
        """Keep a receipt, with all that its message may be known by."""
        self.receipts.append(((*references, *chain.from_iterable(guesses)), receipt))
        return True


class MemoryInbox:
    """Where a gateway hands in messages that do not come over HTTP."""

    def __init__(self) -> None:
        self.messages: list[InboundMessage] = []

    def hand_in(self, message: InboundMessage) -> bool:
        """Keep a message."""
        self.messages.append(message)
        return True


def context_of_tests(
    mailbox: Mailbox | None = None, desk: ReceiptDesk | None = None, inbox: Inbox | None = None
) -> GatewayContext:
    """Return what a gateway is given in tests."""
    return GatewayContext(
        "main",
        production=False,
        mailbox=mailbox or MemoryMailbox(),
        desk=desk or MemoryDesk(),
        inbox=inbox or MemoryInbox(),
    )


class Bench:
    """A gateway, its samples, and a provider to call."""

    gateway_class: ClassVar[type[Gateway]]
    samples: ClassVar[Path]
    prints: ClassVar[bool] = False
    """Whether it is there to print messages; only for a gateway that production refuses."""

    def stand_in(self) -> Provider:
        """Return a provider of our own that has not started yet; another one for a gateway that speaks no HTTP."""
        return Provider()

    def arrange(self, exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
        """Bring about an exchange that settings alone cannot; by default nothing."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test once a sample."""
        samples = load(self.samples)
        if "exchange" in metafunc.fixturenames:
            metafunc.parametrize("exchange", samples.exchanges, ids=lambda exchange: exchange.name)
        if "receipt" in metafunc.fixturenames:
            metafunc.parametrize("receipt", samples.receipts, ids=lambda receipt: receipt.name)
        if "inbound" in metafunc.fixturenames:
            metafunc.parametrize("inbound", samples.inbound, ids=lambda inbound: inbound.name)

    @pytest.fixture
    def file(self) -> Samples:
        """Return the content of the sample file."""
        return load(self.samples)

    @pytest.fixture
    def provider(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
        """Run a provider of our own, reached without any proxy."""
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with self.stand_in() as provider:
            yield provider

    @pytest.fixture
    def caller(self, file: Samples, provider: Provider) -> Provider:
        """Return the provider, for tests of a gateway that calls one."""
        if not file.calls_somebody:
            pytest.skip("it calls nobody")
        return provider

    @pytest.fixture
    def watch(self, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Watch:
        """Watch all loggers at DEBUG, and the output."""
        return Watch(caplog, capsys)

    def settings(self, server: str, **over: Any) -> GatewaySettings:  # noqa: ANN401 - whatever the file holds
        """Return the file's settings, with some replaced."""
        return self.gateway_class.Settings.model_validate({**at_server(load(self.samples).settings, server), **over})

    def gateway(self, settings: GatewaySettings) -> Gateway:
        """Return a gateway as the service makes it."""
        return self.gateway_class(settings, context_of_tests())

    def outcome(self, settings: GatewaySettings, message: Message | None = None) -> Accepted | GatewayError:
        """Send a message, the usual one by default; any exception but `GatewayError` is a failure of the test."""
        try:
            return self.gateway(settings).send(message or load(self.samples).message)
        except GatewayError as failure:
            return failure
