"""A ledger of either kind, and events to record."""

from collections.abc import Iterator

import pytest

from otp_service.ledger.ledger import Ledger, open_ledger


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A new ledger."""
    opened = open_ledger(ledger_url, 10.0)
    yield opened
    opened.database.close()
