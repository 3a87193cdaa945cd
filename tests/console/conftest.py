"""A console over a real Valkey."""

import pytest
from support_installation import World

from otp_service.bootstrap import Installation, prepare
from otp_service.console.app import Console


@pytest.fixture
def installation(real_world: World) -> Installation:
    made = real_world.install()
    prepare(made)
    return made


@pytest.fixture
def console(installation: Installation) -> Console:
    return Console(installation)
