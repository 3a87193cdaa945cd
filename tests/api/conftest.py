"""The HTTP service over a real Valkey, and its log."""

from collections.abc import Iterator
from io import StringIO

import pytest
from support_api import Api
from support_canary import logged_at_debug
from support_installation import World

BOTH_WAYS = {
    "test_answers_in_common",
    "test_client_address",
    "test_client_tokens",
    "test_errors",
    "test_factor_policy",
    "test_guard",
    "test_strict_bodies",
    "test_twilio",
    "test_verifications",
    "test_wire",
}
"""Modules that are about starts and checks: these are answered alike by the hot path and by Flask."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.path.stem in BOTH_WAYS and "hot_path" in metafunc.fixturenames:
        metafunc.parametrize("hot_path", [True, False], ids=["hot path", "Flask"], indirect=True)


@pytest.fixture
def hot_path(request: pytest.FixtureRequest) -> bool:
    """Whether starts and checks take it."""
    return getattr(request, "param", True)


@pytest.fixture
def api(real_world: World, hot_path: bool) -> Api:
    return Api(real_world, hot_path=hot_path)


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What is logged, DEBUG on."""
    with logged_at_debug() as written:
        yield written
