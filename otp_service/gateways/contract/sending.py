# ruff: noqa: S101 - a suite asserts
"""What a gateway promises of sending."""

import time

import pytest

from otp_service.domain.templates import Message
from otp_service.gateways.base import Accepted, FailureKind, GatewayError, GatewaySettings
from otp_service.gateways.contract.bench import Bench
from otp_service.gateways.contract.filling import at_server, filled, member_of, read_back
from otp_service.gateways.contract.provider import Manner, Provider
from otp_service.gateways.contract.samples import (
    CODE,
    MESSAGE,
    CannedResponse,
    Exchange,
    ExpectedRequest,
    Samples,
    another,
)
from otp_service.gateways.contract.watch import Watch, assert_holds_nothing_private, everything_told

TIMEOUT = 0.3
"""Seconds that a call may take in the tests of time-outs."""
PATIENCE = 1.0
"""Seconds beyond it for a busy host; far less than a gateway without a time-out needs."""


class Sends(Bench):
    """The promises."""

    def test_an_exchange_goes_as_sampled(
        self, exchange: Exchange, provider: Provider, watch: Watch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It asks as sampled, exactly once, and makes of the answer what the sample says; nothing leaks."""
        provider.response = exchange.response
        settings = self.settings(provider.url, **at_server(exchange.settings, provider.url))
        with monkeypatch.context() as world:
            self.arrange(exchange, world)
            outcome = self.outcome(settings, exchange.message)
        self.assert_asked_as_sampled(exchange, provider)
        self.assert_ended_as_sampled(exchange, outcome)
        self.assert_nothing_leaks(outcome, settings, watch)

    def test_another_message_goes_as_itself(
        self, file: Samples, caller: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is sampled could be sent whatever the message is; so each goes again, with another number and code."""
        for exchange in file.exchanges:
            if exchange.outcome == "accepted" and exchange.request:
                caller.received.clear()
                caller.response = exchange.response
                settings, message = (
                    self.settings(caller.url, **at_server(exchange.settings, caller.url)),
                    another(exchange.message),
                )
                with monkeypatch.context() as world:
                    self.arrange(exchange, world)
                    self.outcome(settings, message)
                assert len(caller.received) == 1
                self.assert_holds_nothing_of_the_sampled_message(caller)
                self.assert_body_as_sampled(exchange.request, caller, message)

    @pytest.mark.parametrize("status", [200, 201, 302, 400, 404, 429, 500])
    def test_an_answer_that_repeats_the_request_gives_nothing_away(
        self, status: int, caller: Provider, watch: Watch
    ) -> None:
        """Providers repeat numbers, texts and keys in what they answer; it must not."""
        caller.manner, caller.response = Manner.ECHO, CannedResponse(status=status)
        settings = self.settings(caller.url)
        outcome = self.outcome(settings)
        assert len(caller.received) == 1
        assert isinstance(outcome, GatewayError) or status < 300  # noqa: PLR2004 - the statuses of success
        self.assert_nothing_leaks(outcome, settings, watch)

    def test_it_follows_no_redirect(self, caller: Provider) -> None:
        """A redirect would carry a number, and perhaps a key, to another address."""
        elsewhere = {"Location": f"{caller.url}/elsewhere"}
        for status in (301, 302, 303, 307, 308):
            caller.received.clear()
            caller.response = CannedResponse(status=status, headers=elsewhere)
            assert isinstance(self.outcome(self.settings(caller.url)), GatewayError)
            assert len(caller.received) == 1

    @pytest.mark.parametrize("manner", [Manner.SILENT, Manner.DRIP])
    def test_a_time_out_is_unavailable_ambiguous_and_in_time(
        self, manner: Manner, caller: Provider, watch: Watch
    ) -> None:
        """The time-out bounds the whole call, also when bytes keep coming; the message may have been sent."""
        caller.manner = manner
        settings = self.settings(caller.url, timeout=TIMEOUT)
        began = time.monotonic()
        outcome = self.outcome(settings)
        assert time.monotonic() - began < TIMEOUT + PATIENCE
        assert _of(outcome) == (FailureKind.UNAVAILABLE, True)
        assert len(caller.received) == 1
        self.assert_nothing_leaks(outcome, settings, watch)

    def test_an_answer_without_end_is_cut_off(self, caller: Provider) -> None:
        """It reads no more than it can use, and long before the time-out it has seen enough."""
        caller.manner = Manner.FLOOD
        began = time.monotonic()
        assert isinstance(self.outcome(self.settings(caller.url, timeout=10.0)), GatewayError)
        assert time.monotonic() - began < PATIENCE

    def test_a_connection_lost_after_the_request_is_unavailable_and_ambiguous(
        self, caller: Provider, watch: Watch
    ) -> None:
        """The message may have been sent, and it is not sent again here."""
        caller.manner = Manner.CUT
        settings = self.settings(caller.url)
        outcome = self.outcome(settings)
        assert _of(outcome) == (FailureKind.UNAVAILABLE, True)
        assert len(caller.received) == 1
        self.assert_nothing_leaks(outcome, settings, watch)

    def test_a_server_error_is_not_taken_for_an_outage(self, caller: Provider, watch: Watch) -> None:
        """Who failed while it had the message may have sent it: *unavailable* would go on as long as the code lives."""
        caller.response = CannedResponse(status=500)
        settings = self.settings(caller.url)
        outcome = self.outcome(settings)
        assert _of(outcome) != (FailureKind.UNAVAILABLE, False)
        self.assert_nothing_leaks(outcome, settings, watch)

    def test_a_refused_connection_is_unavailable_and_not_ambiguous(self, file: Samples, watch: Watch) -> None:
        """Nothing has been sent."""
        if not file.calls_somebody:
            pytest.skip("it calls nobody")
        with self.stand_in() as gone:
            settings = self.settings(gone.url)
        outcome = self.outcome(settings)
        assert _of(outcome) == (FailureKind.UNAVAILABLE, False)
        self.assert_nothing_leaks(outcome, settings, watch)

    def assert_asked_as_sampled(self, exchange: Exchange, provider: Provider) -> None:
        """Compare what the provider received with the sample."""
        if exchange.request is None:
            assert provider.received == []
            return
        assert len(provider.received) == 1
        expected, (received,) = exchange.request, provider.received
        assert (received.method, received.path) == (expected.method, filled(expected.path))
        assert received.query == filled(expected.query)
        assert {name: received.headers.get(name.lower()) for name in expected.headers} == filled(expected.headers)
        if expected.form is not None:
            assert received.form == filled(expected.form)
        if expected.document is not None:
            assert received.document == filled(expected.document)
        self.assert_body_as_sampled(expected, provider, exchange.message)

    def assert_body_as_sampled(self, expected: ExpectedRequest, provider: Provider, message: Message) -> None:
        """Compare a body that is neither form nor JSON with the pattern of the sample, if there is one."""
        if expected.body is None:
            return
        (received,) = provider.received
        try:
            found = read_back(expected, received.body)
        except ValueError as fault:
            pytest.fail(f"a part of the body is not written as the sample says: {fault}")
        assert found is not None, "the body is not as sampled"
        assert found == {name: member_of(message, name) for name in found}

    def assert_holds_nothing_of_the_sampled_message(self, provider: Provider) -> None:
        """Fail when the request for another message holds the number or the code of the one that is sampled."""
        told = f"{vars(provider.received[0])}".lower()
        wide = CODE.encode("utf-16-be").hex()
        for private in (MESSAGE.to.removeprefix("+92"), CODE, CODE.encode().hex(), wide):
            assert private not in told

    def assert_ended_as_sampled(self, exchange: Exchange, outcome: Accepted | GatewayError) -> None:
        """Compare what the gateway made of the answer with the sample."""
        if isinstance(outcome, Accepted):
            assert exchange.outcome == "accepted"
            assert outcome.reference
            assert exchange.reference in {None, outcome.reference} or filled(exchange.reference) == outcome.reference
            return
        assert (str(exchange.outcome), exchange.ambiguous) == (str(outcome.kind), outcome.ambiguous)
        assert exchange.of_message is outcome.of_message
        assert exchange.opted_out is outcome.opted_out
        assert exchange.code in {None, outcome.provider_code}

    def assert_nothing_leaks(self, outcome: Accepted | GatewayError, settings: GatewaySettings, watch: Watch) -> None:
        """Fail when the outcome, a log line or the output tells something private."""
        told = everything_told(outcome) if isinstance(outcome, GatewayError) else outcome.reference
        assert_holds_nothing_private(told, settings, "the outcome")
        watch.assert_no_log_gives_away(settings)
        if not (self.prints and self.gateway_class.development_only):
            watch.assert_no_print_gives_away(settings)


def _of(outcome: Accepted | GatewayError) -> tuple[FailureKind, bool] | Accepted:
    """Return kind and ambiguity of a failure. No answer is never about the message: the breaker has to learn of it."""
    if isinstance(outcome, Accepted):
        return outcome
    assert not outcome.of_message
    return outcome.kind, outcome.ambiguous
