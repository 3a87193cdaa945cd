# ruff: noqa: S101 - a suite asserts
"""What a gateway promises of receipts, if its provider reports."""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from otp_service.core.verification import DeliveryStatus
from otp_service.gateways.base import ReceiptForgedError, ReceiptRequest, ReportsReceipts
from otp_service.gateways.contract.bench import Bench
from otp_service.gateways.contract.provider import Provider
from otp_service.gateways.contract.samples import MESSAGE, SampleReceipt, Samples


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

    def test_a_receipt_is_read_as_sampled(self, receipt: SampleReceipt, provider: Provider) -> None:
        """The status is normalised, an unseen one becomes ``unknown``, the provider's own words stay beside it."""
        read = self.reporter(provider).receipt(genuine(receipt))
        assert (read.status, read.raw_status, read.reason) == (receipt.status, receipt.raw_status, receipt.reason)

    def test_a_forged_receipt_is_refused(self, receipt: SampleReceipt, provider: Provider) -> None:
        """Whatever is changed in a genuine one, it is no longer accepted."""
        for what, forged in forgeries(receipt, address=self.signs_the_address):
            with pytest.raises(ReceiptForgedError):
                pytest.fail(f"{what}: {self.reporter(provider).receipt(forged)}")

    def reporter(self, provider: Provider) -> ReportsReceipts:
        """Return the gateway as one that reports."""
        gateway = self.gateway(self.settings(provider.url))
        assert isinstance(gateway, ReportsReceipts)
        return gateway


def genuine(receipt: SampleReceipt) -> ReceiptRequest:
    """Return a sampled receipt as it comes in."""
    body = receipt.body or urlencode(receipt.form)
    headers = {name.lower(): value for name, value in receipt.headers.items()}
    return ReceiptRequest(
        method=receipt.method,
        url=receipt.url,
        headers=headers,
        query=dict(parse_qsl(urlsplit(receipt.url).query, keep_blank_values=True)),
        form=receipt.form,
        body=body.encode(),
        peer=receipt.peer,
        dispatch_id=MESSAGE.dispatch_id,
    )


def forgeries(receipt: SampleReceipt, *, address: bool) -> Iterator[tuple[str, ReceiptRequest]]:
    """Yield a receipt with one thing changed at a time: a proof, a member, the body, and the ``address``."""
    real = genuine(receipt)
    yield "no proof", replace(real, headers={})
    for name, value in real.headers.items():
        yield f"another {name}", replace(real, headers={**real.headers, name: value[::-1]})
        yield f"an empty {name}", replace(real, headers={**real.headers, name: ""})
        yield f"a longer {name}", replace(real, headers={**real.headers, name: value + "="})
        yield f"letters in {name}", replace(real, headers={**real.headers, name: "\u00e9"})
    for name, value in real.form.items():
        form = {**real.form, name: value + "0"}
        yield f"another {name}", replace(real, form=form, body=urlencode(form).encode())
    if not real.form:
        yield "another body", replace(real, body=real.body.replace(b"delivered", b"failed") + b" ")
    if address:
        yield "another dispatch", replace(real, url=real.url + "0")
