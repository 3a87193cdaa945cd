# ruff: noqa: S101 - a suite asserts
"""What a gateway promises of receipts, if its provider reports."""

import time

import pytest

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Receipt, ReceiptForgedError, ReceiptRequest, ReportsReceipts
from otp_service.gateways.contract.bench import Bench
from otp_service.gateways.contract.forging import OTHER_DISPATCH, forgeries, genuine, of_another_dispatch
from otp_service.gateways.contract.provider import Provider
from otp_service.gateways.contract.requests import HOUR, SampleReceipt
from otp_service.gateways.contract.samples import Samples


class Reports(Bench):
    """The promises."""

    def test_receipts_are_sampled_where_there_are_any(self, file: Samples) -> None:
        """A gateway that reports shows a known status and one that nobody has seen before."""
        shown = {receipt.status for receipt in file.receipts}
        if issubclass(self.gateway_class, ReportsReceipts):
            assert DeliveryStatus.UNKNOWN in shown
            assert shown - {DeliveryStatus.UNKNOWN}
        else:
            assert not shown

    def test_a_receipt_is_read_as_sampled(
        self, receipt: SampleReceipt, provider: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The status is normalised, an unseen one becomes ``unknown``, the provider's own words stay beside it."""
        read = self.read(receipt, genuine(receipt), provider, monkeypatch)
        expected = Receipt(receipt.status, receipt.raw_status, receipt.reason, receipt.kind, receipt.opted_out)
        assert read == expected

    def test_a_forged_receipt_is_refused(
        self, receipt: SampleReceipt, provider: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever is changed in a genuine one that its proof covers, it is no longer accepted."""
        for what, forged in forgeries(genuine(receipt), receipt.covers):
            self.assert_refused(what, receipt, forged, provider, monkeypatch)

    def test_a_receipt_of_another_dispatch_is_refused(
        self, receipt: SampleReceipt, provider: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Sent again to another address, a genuine one tells nothing of the dispatch that is named there."""
        if "address" not in receipt.covers:
            pytest.skip("its proof does not cover the address")
        self.assert_refused(OTHER_DISPATCH, receipt, of_another_dispatch(receipt), provider, monkeypatch)

    def test_a_receipt_of_another_time_is_refused(
        self, receipt: SampleReceipt, provider: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A genuine one that was kept for an hour is too old; one that is an hour early is no better."""
        if receipt.at is None:
            pytest.skip("its proof has no time in it")
        for what, late in (("an hour late", HOUR), ("an hour early", -HOUR)):
            self.assert_refused(what, receipt, genuine(receipt), provider, monkeypatch, late=late)

    def assert_refused(
        self,
        what: str,
        receipt: SampleReceipt,
        request: ReceiptRequest,
        provider: Provider,
        monkeypatch: pytest.MonkeyPatch,
        *,
        late: float = 0.0,
    ) -> None:
        """Fail unless the gateway refuses a report that comes in ``late`` by so many seconds."""
        with pytest.raises(ReceiptForgedError):
            pytest.fail(f"{what}: {self.read(receipt, request, provider, monkeypatch, late=late)}")

    def read(
        self,
        receipt: SampleReceipt,
        request: ReceiptRequest,
        provider: Provider,
        monkeypatch: pytest.MonkeyPatch,
        *,
        late: float = 0.0,
    ) -> Receipt:
        """Let the gateway read a report at the time of the sample: ``time.time()`` is moved, no other clock."""
        gateway = self.gateway(self.settings(provider.url, **receipt.settings))
        assert isinstance(gateway, ReportsReceipts)
        with monkeypatch.context() as world:
            if receipt.at is not None:
                now = receipt.at + late
                world.setattr(time, "time", lambda: now)
            return gateway.receipt(request)
