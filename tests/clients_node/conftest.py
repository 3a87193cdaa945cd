"""The TypeScript client is built once."""

from pathlib import Path

import pytest
from support_typescript import build


@pytest.fixture(scope="session")
def specification(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the OpenAPI document; package and tests are built then."""
    return build(tmp_path_factory.mktemp("specification"))
