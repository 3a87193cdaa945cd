"""The HTTP service over a real Valkey."""

import pytest
from support_api import Api
from support_installation import World


@pytest.fixture
def api(real_world: World) -> Api:
    return Api(real_world)
