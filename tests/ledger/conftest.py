"""A ledger of either kind, and events to record."""

from collections.abc import Iterator

import pytest

from otp_service.ledger.ledger import Ledger


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A new ledger."""
    opened = Ledger(ledger_url, 10.0)
    yield opened
    opened.database.close()
