"""A provider for tests of single gateways."""

import pytest

from otp_service.testing.provider import FakeProvider


@pytest.fixture
def provider(monkeypatch):
    """Run a stand-in for the provider, reached without any proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FakeProvider() as provider:
        yield provider
